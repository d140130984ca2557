"""Redis: `connection` is one socket, `link` keeps one open."""
