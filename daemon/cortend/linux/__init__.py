"""One thin function per system call, through ctypes where Python has none.

Each raises OSError with the path it was about. Constants are named as in the kernel's headers.
Imports the standard library only.
"""
