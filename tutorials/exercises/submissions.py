"""Find the exercises in what students hand in: folders, repositories, zip files, and the flat names of platforms.

Only the exact names count. Everything else that looks like one is reported, so that nobody earns 0 without a word.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

LARGEST = 2**20  # bytes of a file; the longest hand-out has 7,000
LARGEST_ZIP = 2**28
MANY = 20_000  # files and folders that are looked at
SKIPPED = {".git", ".venv", "venv", "node_modules", "site-packages", "__pycache__", "__MACOSX"}
ZIP_ERRORS = (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError, zipfile.zlib.error)


@dataclass
class Submission:
    """What one student has handed in.

    Attributes:
        student: the name of the folder or zip file, or the beginning of the flat names.
        files: the text of each exercise's file, by its name.
        found: where each of them was.
        notes: what an instructor should know: what looks like a file but isn't one, what couldn't be read.
    """

    student: str
    files: dict[str, bytes] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Different if any file is."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name} {len(self.files[name])} ".encode() + self.files[name])
        return digest.hexdigest()


Candidates = Iterable[tuple[str, str, "bytes | str"]]  # where, the name, and the text or what is wrong


class Finder:
    """Knows the exercises' names, and which file to take if there are several.

    Args:
        handed_out: the text of each exercise's file as handed out, by name.

    Attributes:
        unused: what of the entries is no student's, once there are ``submissions``.
    """

    def __init__(self, handed_out: dict[str, bytes]) -> None:
        self.handed_out = handed_out
        names = "|".join(re.escape(name.removesuffix(".py")) for name in handed_out)
        self.flat = re.compile(rf"(?P<student>.+?)[_-](?P<file>{names})(-(?P<again>\d+))?\.py", re.DOTALL)
        self.letters = {letters_of(name): name for name in handed_out}
        self.unused: list[str] = []

    def submissions(self, entries: Iterable[os.DirEntry]) -> list[Submission]:
        """Those that the entries of a folder are, by the students' names."""
        found, flat, odd, self.unused = [], {}, {}, []
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            name = readable(entry.name)
            if entry.name.startswith((".", "__MACOSX")) or entry.is_symlink():
                self.unused.append(name)
            elif entry.is_dir():
                found.append(self.choose(name, in_folder(Path(entry.path), self.of_interest)))
            elif name.lower().endswith(".zip"):
                found.append(self.choose(owner(name[:-4]), in_zip(Path(entry.path), "", self.of_interest)))
            elif match := self.flat.fullmatch(name):
                flat.setdefault(owner(match["student"]), []).append(
                    (int(match["again"] or 0), name, match["file"], entry)
                )
            elif near := self.near_miss(name):
                odd.setdefault(near[0], []).append((name, "", near[1]))
            else:
                self.unused.append(name)
        for student in {**flat, **odd}:
            files = sorted(flat.get(student, ()), key=lambda file: file[:2], reverse=True)
            found.append(self.choose(student, chain(in_flat_names(files), odd.get(student, ()))))
        return unique(found)

    def near_miss(self, name: str) -> tuple[str, str] | None:
        """Whose a file with a flat name is that isn't an exercise's, and what is to be said of it."""
        starts = [match.end() for match in re.finditer("[_-]", name) if re.search(r"[^\W\d_]", name[: match.start()])]
        if self.looks_like(name) is None:
            for start in starts:
                if exercise := self.looks_like(name[start:]):
                    return owner(name[: start - 1]), f"looks like {exercise}, but isn't called so, and isn't graded"
        if match := re.match(r".+?_(\d+_assignsubmission_file|(LATE_)?\d+_\d+)(?=_)", name):
            return owner(match[0]), "isn't called like an exercise's file or a zip file, and isn't graded"
        return None

    def of_interest(self, name: str) -> bool:
        """Whether a file's name is one of the exercises' or looks like one."""
        return name in self.handed_out or self.looks_like(name) is not None

    def looks_like(self, name: str) -> str | None:
        """The exercise of which this may be the file, under another name."""
        if not name.lower().endswith((".py", ".ipynb", ".txt", ".pdf")):
            return None
        letters = letters_of(name)
        exercise = self.letters.get(letters) or self.letters.get(re.sub("copy|kopie|final|new|exercise", "", letters))
        number = re.match(r"\d+", name)
        return None if exercise and number and int(number[0]) != int(exercise[:2]) else exercise

    def choose(self, student: str, candidates: Candidates) -> Submission:
        """Of all files with the right name the one that was worked on, in the likeliest place."""
        result, places = Submission(student), {}
        for where, name, text in candidates:
            if isinstance(text, str):
                result.notes.append(f"{where}: {text}")
            elif name in self.handed_out:
                places.setdefault(name, []).append((where, text))
            else:
                result.notes.append(
                    f"{where}: looks like {self.looks_like(name)}, but isn't called so, and isn't graded"
                )
        for name in sorted(places):
            (where, text), *others = sorted(places[name], key=lambda place: self.rank(name, *place))
            result.files[name], result.found[name] = text, where
            different = [other for other, its_text in others if its_text not in (text, self.handed_out[name])]
            if different:
                result.notes.append(f"{where} is graded, and not {', '.join(different[:3])}")
        return result

    def rank(self, name: str, where: str, text: bytes) -> tuple:
        """Smaller for a file that was worked on, in a copy of the course, not deep down."""
        untouched = text.split() == self.handed_out[name].split()
        folder = PurePosixPath(where).parts[:-1]
        return untouched, folder[-2:] != ("tutorials", "exercises"), len(folder), where


def letters_of(name: str) -> str:
    """What remains of a file's name if numbers, marks and capitals don't count."""
    return re.sub("[^a-z]", "", name.lower().partition(".")[0])


def readable(name: str) -> str:
    """A file's name as text, also if its bytes are none."""
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)


def owner(beginning: str) -> str:
    """Whose file it is, from the beginning of a flat name.

    Canvas: ``doejohn_123_456`` and ``doejohn_LATE_123_456`` (person, submission); Moodle:
    ``John Doe_123_assignsubmission_file_``.
    """
    beginning = re.sub(r"_assignsubmission_file.*$", "", beginning)
    beginning = re.sub(r"_LATE(?=_\d+)", "", beginning)
    return re.sub(r"^(.+?_\d+)_\d+(_.*)?$", r"\1", beginning) or "unknown"


def unique(found: list[Submission]) -> list[Submission]:
    """The same student's folder and zip get two names, so that none is lost."""
    names: set[str] = set()
    for submission in found:
        name, number = submission.student, 2
        while submission.student in names:
            submission.student, number = f"{name} ({number})", number + 1
        names.add(submission.student)
    return sorted(found, key=lambda submission: submission.student)


def in_folder(folder: Path, of_interest: Callable[[str], bool]) -> Candidates:
    """The files below a folder and in zip files there; symbolic links, which may lead anywhere, are not followed."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        count += len(folders) + len(names)
        if count > MANY:
            yield readable(folder.name), "", f"more than {MANY} files: only the first were looked at"
            return
        if Path(root).parts[-3:] == ("tests", "tutorials", "solutions"):
            continue
        for name in sorted(names):
            path = Path(root, name)
            where = readable(path.relative_to(folder).as_posix())
            if name.lower().endswith(".zip"):
                yield from in_zip(path, f"{where}/", of_interest)
            elif of_interest(name):
                yield where, readable(name), content(path)


def content(path: Path) -> bytes | str:
    """What is in a file, or why it isn't read."""
    try:
        if path.is_symlink():
            return "a symbolic link, which isn't followed"
        if not path.is_file():
            return "not a file"
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return text if len(text) <= LARGEST else "more than a megabyte, so it isn't read"


def in_zip(path: Path, before: str, of_interest: Callable[[str], bool]) -> Candidates:
    """The files in a zip file. Nothing is unpacked but what is read, and of that a megabyte at most."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_ZIP:
            raise ValueError("it is a link, no file, or too large")
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:MANY]:
                parts = PurePosixPath(info.filename.replace("\\", "/")).parts
                if info.is_dir() or not parts or SKIPPED & set(parts) or not of_interest(parts[-1]):
                    continue
                if parts[-4:-1] == ("tests", "tutorials", "solutions"):
                    continue
                yield before + readable("/".join(parts)), readable(parts[-1]), member(archive, info)
    except ZIP_ERRORS as error:
        yield before.rstrip("/") or readable(path.name), "", f"a zip file that can't be read: {error}"


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | str:
    if info.external_attr >> 16 & 0o170000 == 0o120000:
        return "a symbolic link, which isn't followed"
    try:
        with archive.open(info) as file:
            text = file.read(LARGEST + 1)
    except ZIP_ERRORS as error:
        return f"can't be unpacked: {error}"
    return text if len(text) <= LARGEST else "more than a megabyte, so it isn't read"


def in_flat_names(files: Iterable[tuple]) -> Candidates:
    """One student's files, the newest first: platforms number what is handed in again."""
    seen: dict[str, str] = {}
    for _, name, exercise, entry in files:
        if exercise in seen:
            yield name, "", f"isn't graded, but the newer {seen[exercise]}"
        else:
            seen[exercise] = name
            yield name, f"{exercise}.py", content(Path(entry.path))
