"""What judges `.proto` files: `buf`, with the files of others that ours import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from objectql.cli.proto import write_imports
from objectql.protobuf.model import ProtoFile
from objectql.protobuf.text import text_of

BUF = Path(sys.executable).parent / "buf"

CONFIGURATION = """\
version: v2
modules:
  - path: ours
  - path: theirs
lint:
  use: [STANDARD]
  # Google's proposals answer with the record itself, which several methods share.
  except: [RPC_RESPONSE_STANDARD_NAME, RPC_REQUEST_RESPONSE_UNIQUE]
  ignore: [theirs]
breaking:
  use: [FILE]
"""


class Workspace:
    """A folder with `buf.yaml`, the types of others, and files of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "buf.yaml").write_text(CONFIGURATION)
        (folder / "ours").mkdir()
        write_imports(folder / "theirs")

    def write(self, files: Iterable[ProtoFile]) -> None:
        """Write the text of each file, over what was there."""
        for each in files:
            path = self.folder / "ours" / each.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_of(each))

    def buf(self, *arguments: str) -> str:
        """What `buf` complains of."""
        done = subprocess.run(  # noqa: S603
            [BUF, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 100}, done.stderr
        return done.stdout

    def descriptors(self) -> dict[str, FileDescriptorProto]:
        """What `buf` compiles the files to, by their paths."""
        image = self.folder / "image.binpb"
        wanted = ("--as-file-descriptor-set", "--exclude-source-info", "-o", str(image))
        assert not self.buf("build", *wanted)
        found = FileDescriptorSet.FromString(image.read_bytes())
        return {each.name: each for each in found.file}
