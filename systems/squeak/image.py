"""Make a Squeak image evaluate a source string when it starts.

The format is that of 32-bit, little-endian images before Spur (magic 6502). A reference to an
object (an oop) is the address of the object's base header word; the two low bits of that word say
how many header words there are. Squeak resumes the process that was active when the image was
saved, so a new context in its place is all it takes: one that is about to run the first
instruction of ``Compiler class >> evaluate:``.
"""

import struct

FILE_HEADER = 64
MAGIC = 6502
NIL, SCHEDULER, SMALLTALK = 0, 3, 8  # places in the array of special objects
POINTERS, BYTES = 3, 8  # object formats: indexable pointers after fixed ones; bytes
STRING, METHOD_CONTEXT = 11, 14  # compact class indices
ONE_WORD_HEADER, THREE_WORD_HEADER = 3, 0
LONGEST = 252  # bytes of an object whose size is in its base header word, with that word
SMALL_FRAME, LARGE_FRAME = 22, 62  # slots of a context


class UnknownImageError(ValueError):
    """The bytes are not an image of the kind that this module can change."""


def evaluating(image: bytes, source: str) -> bytes:
    """Return a copy of `image` that, once started, sends `evaluate:` with `source` to Compiler.

    Raises UnknownImageError for any other image format, ValueError for a `source` that does not
    fit an object with a short header (more than 248 bytes).
    """
    memory = ObjectMemory(image)
    compiler = memory.global_named("Compiler")
    method = memory.method("evaluate:", memory.class_of(compiler))
    text = memory.append(STRING, BYTES, source.replace("\n", "\r").encode("latin-1"))
    memory.suspend_active_process_in(memory.new_context(method, compiler, text))
    return memory.as_image()


class ObjectMemory:
    """The objects of an image file; an oop becomes a file offset by two constants."""

    def __init__(self, image: bytes) -> None:
        self.image = bytearray(image)
        if len(image) < FILE_HEADER or self.word(0) != MAGIC or self.word(4) != FILE_HEADER:
            raise UnknownImageError(f"not a 32-bit Squeak image from before Spur (magic {MAGIC})")
        if len(image) != FILE_HEADER + self.word(8):
            raise UnknownImageError(f"{len(image)} bytes are not the whole image")
        self.start = self.word(12)
        self.special_objects = self.word(16)
        self.nil = self.special_object(NIL)

    def as_image(self) -> bytes:
        struct.pack_into("<I", self.image, 8, len(self.image) - FILE_HEADER)
        return bytes(self.image)

    def word(self, offset: int) -> int:
        return struct.unpack_from("<I", self.image, offset)[0]

    def offset(self, oop: int) -> int:
        return oop - self.start + FILE_HEADER

    def size(self, oop: int) -> int:
        """Bytes of the object, with its base header word."""
        header = self.word(self.offset(oop))
        if header & 3 == THREE_WORD_HEADER:
            return self.word(self.offset(oop) - 8) & ~3
        return header & 0xFC

    def special_object(self, index: int) -> int:
        return self.slot(self.special_objects, index)

    def slot(self, oop: int, index: int) -> int:
        return self.word(self.offset(oop) + 4 + 4 * index)

    def slots(self, oop: int) -> list[int]:
        return [self.slot(oop, index) for index in range(self.size(oop) // 4 - 1)]

    def text(self, oop: int) -> str:
        unused = self.word(self.offset(oop)) >> 8 & 3
        begin = self.offset(oop) + 4
        return self.image[begin : begin - 4 + self.size(oop) - unused].decode("latin-1")

    def class_of(self, oop: int) -> int:
        """The class of an object whose class is not one of the compact ones."""
        return self.word(self.offset(oop) - 4) & ~3

    def global_named(self, name: str) -> int:
        associations = self.slots(self.slot(self.special_object(SMALLTALK), 1))
        for association in associations:
            if association != self.nil and self.text(self.slot(association, 0)) == name:
                return self.slot(association, 1)
        raise UnknownImageError(f"the image has no global named {name}")

    def method(self, selector: str, behavior: int) -> int:
        """What an instance of the class `behavior` runs when it is sent `selector`."""
        while behavior != self.nil:
            _tally, methods, *keys = self.slots(self.slot(behavior, 1))
            for key, method in zip(keys, self.slots(methods), strict=True):
                if key != self.nil and self.text(key) == selector:
                    return method
            behavior = self.slot(behavior, 0)
        raise UnknownImageError(f"no method {selector} in the class or its superclasses")

    def new_context(self, method: int, receiver: int, argument: int) -> int:
        """A context without a sender, about to run `method`'s first instruction."""
        header = self.slot(method, 0) >> 1
        literals, large, temporaries = header >> 9 & 0xFF, header >> 17 & 1, header >> 18 & 0x3F
        slots = [
            self.nil,
            small_integer((literals + 1) * 4 + 1),
            small_integer(temporaries),
            method,
            self.nil,
            receiver,
            argument,
        ]
        slots += [self.nil] * ((LARGE_FRAME if large else SMALL_FRAME) - len(slots))
        return self.append(METHOD_CONTEXT, POINTERS, struct.pack(f"<{len(slots)}I", *slots))

    def append(self, compact_class: int, format: int, body: bytes) -> int:
        """Add an object of a compact class at the end of the object memory; return its oop."""
        unused = -len(body) % 4
        size = 4 + len(body) + unused
        if size > LONGEST:
            raise ValueError(f"{len(body)} bytes do not fit an object with a short header")
        oop = len(self.image) - FILE_HEADER + self.start
        header = size | (format + unused) << 8 | compact_class << 12 | ONE_WORD_HEADER
        self.image += struct.pack("<I", header) + body + bytes(unused)
        return oop

    def suspend_active_process_in(self, context: int) -> None:
        scheduler = self.slot(self.special_object(SCHEDULER), 1)
        process = self.slot(scheduler, 1)
        struct.pack_into("<I", self.image, self.offset(process) + 8, context)


def small_integer(value: int) -> int:
    return value << 1 | 1
