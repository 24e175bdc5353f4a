"""What lies in a folder, as text that can be compared."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_tree(root: Path | str, *, with_modes: bool = True) -> dict[str, str]:
    """Name to kind, mode and content; a further name of a file is ``h`` and its first name."""
    found: dict[str, str] = {}
    first: dict[tuple[int, int], str] = {}

    def walk(folder: bytes, prefix: bytes) -> None:
        for name in sorted(os.listdir(folder)):
            path, shown = folder + b"/" + name, prefix + name
            key = os.fsdecode(shown)
            about = os.lstat(path)
            mode = f" {stat.S_IMODE(about.st_mode):o}" if with_modes else ""
            inode = about.st_dev, about.st_ino
            if not stat.S_ISDIR(about.st_mode) and about.st_nlink > 1 and inode in first:
                found[key] = f"h {first[inode]}"
                continue
            first.setdefault(inode, key)
            if stat.S_ISDIR(about.st_mode):
                found[key] = f"d{mode}"
                walk(path, shown + b"/")
            elif stat.S_ISLNK(about.st_mode):
                found[key] = f"l {os.fsdecode(os.readlink(path))}"
            elif stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = file.read(2000)
                size = "" if about.st_size <= 2000 else f" {about.st_size} bytes"
                found[key] = f"f{mode}{size} {content.decode('latin-1')}".rstrip()
            else:
                kind = {stat.S_IFIFO: "p", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
                device = f" {os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
                found[key] = f"{kind[stat.S_IFMT(about.st_mode)]}{mode}{device}"

    walk(os.fsencode(root), b"")
    return found


class Canary:
    """Folders and files around a target, of which every name, mode, time and byte is known."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.outside = base / "outside"
        self.mid = base / "mid"
        self.root = self.mid / "rootfs"
        for folder in (self.outside / "sub" / "deep", self.mid / "beside"):
            folder.mkdir(parents=True)
        for name in ("outside/secret", "outside/victim", "outside/sub/deep/file", "secret"):
            (base / name).write_text(f"the secret of {name}\n")
        for name in ("mid/secret", "mid/x", "mid/f", "mid/beside/file"):
            (base / name).write_text(f"the content of {name}\n")
        (self.outside / "sub" / "link").symlink_to("../secret")
        (self.mid / "out").symlink_to(self.outside)
        os.chmod(self.outside / "secret", 0o600)
        os.chmod(self.outside / "sub", 0o750)
        for path in sorted(base.rglob("*")):
            os.utime(path, (1, 1), follow_symlinks=False)
        self.before = self.now()

    def now(self) -> dict[str, object]:
        """All of it but the target; of the folder that holds it not the time."""
        found: dict[str, object] = {}
        for folder, folders, files in os.walk(os.fsencode(self.base)):
            if folder == os.fsencode(self.mid):
                folders[:] = [name for name in folders if name != b"rootfs"]
                files = [name for name in files if name != b"rootfs"]
            for path in (folder, *(folder + b"/" + name for name in (*files, *folders))):
                about = os.lstat(path)
                content: object = None
                if stat.S_ISLNK(about.st_mode):
                    content = os.readlink(path)
                elif stat.S_ISREG(about.st_mode):
                    with open(path, "rb") as file:
                        content = file.read()
                times = None if path == os.fsencode(self.mid) else about.st_mtime_ns
                links = 0 if stat.S_ISDIR(about.st_mode) else about.st_nlink
                facts = (about.st_mode, about.st_uid, about.st_gid, links, times)
                found[os.fsdecode(path)] = (facts, content)
        return found

    def check(self) -> None:
        assert self.now() == self.before, "something outside of the target has changed"
