"""The layers of images: packed from files, and unpacked into a tree."""
