# Types of the part of google-re2 that is used.
class error(Exception):  # noqa: N801, N818
    args: tuple[bytes]

class Options:
    max_mem: int
    log_errors: bool

def compile(pattern: str, options: Options) -> object: ...  # noqa: A001

class Set:
    @classmethod
    def SearchSet(cls, options: Options) -> Set: ...
    def Add(self, pattern: str) -> int: ...
    def Compile(self) -> bool: ...
    def Match(self, text: str) -> list[int] | None: ...
