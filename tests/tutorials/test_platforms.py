"""Teachers' platforms get what they read, with the points that were earned, and obey nothing that students wrote."""

import argparse
import base64
import codecs
import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import a_class
import pytest
from run_lesson import TIMEOUT

from tutorials.exercises.checks.run import FOLDER, exercises, points
from tutorials.exercises.grade import score
from tutorials.exercises.platforms import (
    coderunner,
    feedback,
    github_classroom,
    gradescope,
    mistakes,
    outputs,
    prairielearn,
    totals,
)
from tutorials.exercises.platforms.gradebooks import Gradebook
from tutorials.exercises.platforms.one import grade_one

ROOT = FOLDER.parents[1]
NASTY = "<script>alert(1)</script> \ud800 \x1b[2J \0 & \"'\n::error::no\n=1+1"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def graded(student="ada", **shares):
    """A result as grading keeps it, with points: each function right, but for those whose share is given."""
    verdicts = [
        {"exercise": exercise.number, "title": exercise.title, "function": task.function, "status": "right",
         "share": 1.0, "text": "", "mistake": [], "printed": "", "seconds": 0.01}
        for exercise in exercises()
        for task in exercise.tasks
    ]  # fmt: skip
    for verdict in verdicts:
        if verdict["function"] in shares:
            share = shares[verdict["function"]]
            verdict |= {"status": "wrong", "share": share, "text": NASTY, "printed": NASTY, "mistake": ["a | mistake"]}
    found = {exercise.file: exercise.file for exercise in exercises()}
    return score(
        {"student": student, "found": found, "notes": [NASTY], "protection": {}, "verdicts": verdicts}, points()
    )


ADA = graded(relu=0.0, cross_entropy=1 / 3)
OF = sum(points().values())
EARNED = OF - 1 - 2  # of relu's 1 point and of cross_entropy's 3


# The services' formats, as their specifications write them.


def check_gradescope(found):
    """https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format"""
    visible = {"hidden", "after_due_date", "after_published", "visible"}
    formats = {"text", "html", "simple_format", "md", "ansi"}
    top = {
        "score": float, "execution_time": float, "output": str, "output_format": formats, "test_output_format": formats,
        "test_name_format": formats, "visibility": visible, "stdout_visibility": visible, "extra_data": dict,
        "tests": list, "leaderboard": list,
    }  # fmt: skip
    test = {
        "score": float, "max_score": float, "status": {"passed", "failed"}, "name": str, "name_format": formats,
        "number": str, "output": str, "output_format": formats, "tags": list, "visibility": visible, "extra_data": dict,
    }  # fmt: skip
    check_fields(found, top, required=())
    for one in found["tests"]:
        check_fields(one, test, required=() if "score" in found else ("score",))


def check_classroom(found):
    """``generateResult`` in https://github.com/education/autograding-command-grader/blob/main/src/main.js"""
    statuses = {"pass", "fail", "error"}
    top = {"version": int, "status": statuses, "max_score": float, "tests": list}
    test = {"name": str, "status": statuses, "score": float, "message": str, "test_code": str, "filename": str,
            "line_no": int, "duration": int}  # fmt: skip
    check_fields(found, top, required=top)
    assert found["version"] == 1
    for one in found["tests"]:
        check_fields(one, test, required=test)


def check_prairielearn(found):
    """https://prairielearn.readthedocs.io/en/latest/externalGrading/#grading-results"""
    top = {"gradable": bool, "score": float, "message": str, "output": str, "images": list, "tests": list,
           "format_errors": list}  # fmt: skip
    test = {"name": str, "description": str, "points": float, "max_points": float, "message": str, "output": str,
            "images": list}  # fmt: skip
    check_fields(found, top, required=("score",) if found.get("gradable", True) else ())
    assert 0 <= found.get("score", 0) <= 1
    assert len(json.dumps(found)) < 10**6
    for one in found.get("tests", ()):
        check_fields(one, test, required=("name",))


def check_coderunner(found):
    """https://github.com/trampgeek/moodle-qtype_coderunner/blob/master/docs/index.md, Combinator-template grading."""
    names = {"prologuehtml": str, "epiloguehtml": str, "instructorhtml": str, "testresults": list,
             "columnformats": list, "showoutputonly": bool, "showdifferences": bool, "graderstate": str,
             "files": dict, "fraction": float}  # fmt: skip
    check_fields(found, names, required=("fraction",))
    assert 0 <= found["fraction"] <= 1
    head, *rows = found["testresults"]
    assert {len(row) for row in rows} == {len(head)}
    assert {row[head.index("iscorrect")] for row in rows} <= {0, 1}


def check_fields(found, fields, required):
    assert set(required) <= set(found) <= set(fields)
    for name, value in found.items():
        kind = fields[name]
        if isinstance(kind, set):
            assert value in kind
        else:
            assert isinstance(value, (int, float) if kind is float else kind), name


SERVICES = {
    "gradescope": (gradescope.results, check_gradescope),
    "github_classroom": (github_classroom.results, check_classroom),
    "prairielearn": (prairielearn.results, check_prairielearn),
    "coderunner": (coderunner.results, check_coderunner),
}
NOTHING = graded() | {"found": {}}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("result", [graded(), ADA, NOTHING], ids=["right", "partly right", "no files"])
def test_a_service_gets_what_its_specification_allows(service, result):
    results, check = SERVICES[service]
    text = json.dumps(results(result), allow_nan=False)
    check(json.loads(text))
    text.encode("ascii")
    assert not re.search(r"\\ud800|\\u001b|\\u0000", text)


def test_gradescope_gets_partial_points():
    tests = gradescope.results(ADA)["tests"]
    assert sum(test["score"] for test in tests) == pytest.approx(EARNED)
    assert sum(test["max_score"] for test in tests) == OF
    assert {test["name"] for test in tests if test["status"] == "failed"} == {
        "Exercise 6: relu", "Exercise 7: cross_entropy",
    }  # fmt: skip


def test_gradescope_never_renders_what_students_wrote():
    found = gradescope.results(ADA)
    assert {found["output_format"]} | {test["output_format"] for test in found["tests"]} == {"text"}


def classroom_points(encoded):
    """What the reporter adds up (``src/notify-classroom.js``) from the variable that it decodes (``src/main.js``)."""
    found = json.loads(base64.b64decode(encoded, validate=True))
    return sum(test["score"] for test in found["tests"]), found["max_score"]


def test_github_classroom_gets_partial_points():
    assert classroom_points(github_classroom.encoded(ADA)) == (pytest.approx(EARNED), OF)


def test_long_texts_leave_github_classroom_the_points():
    result = graded(relu=0.0)
    for verdict in result["verdicts"]:
        verdict["text"] = "é" * 10**5
    encoded = github_classroom.encoded(result)
    assert len(encoded) < 2**17
    assert classroom_points(encoded) == (OF - 1, OF)


def test_what_students_print_is_no_command_to_github():
    first, *lines, last = github_classroom.log(ADA).splitlines()
    assert first == f"::stop-commands::{last.strip(':')}"
    assert last not in lines


def test_long_texts_leave_prairielearn_its_megabyte():
    result = graded()
    for verdict in result["verdicts"]:
        verdict["text"] = "\N{SNOWMAN}" * 10**5
    check_prairielearn(prairielearn.results(result))


def test_prairielearn_and_coderunner_get_the_share_of_the_points():
    assert prairielearn.results(ADA)["score"] == pytest.approx(EARNED / OF)
    assert coderunner.results(ADA)["fraction"] == pytest.approx(EARNED / OF)


def test_what_prairielearn_cannot_grade_costs_no_attempt():
    found = prairielearn.results(NOTHING)
    assert found["gradable"] is False
    assert found["format_errors"]


# Pages of feedback.


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_a_page_shows_what_students_wrote_and_obeys_none_of_it():
    page = Page(feedback.page(ADA | {"student": NASTY}))
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") == 2 + 1 + 2 * 2  # titles, note; text and printed of two
    page.text.encode("utf-8")
    assert "\x1b" not in page.text
    assert f"{EARNED:g} of {OF:g} points" in page.text


def test_what_is_the_same_for_all_functions_is_said_once():
    result = graded()
    for verdict in [verdict for verdict in result["verdicts"] if verdict["exercise"] == 15]:
        verdict |= {"status": "wrong", "share": 0.0, "points": 0.0, "text": "not Python"}
    text = Page(feedback.page(result)).text
    assert text.count("not Python") == 1
    assert "all 4 functions: wrong, 0 of 10 points" in text


def test_each_student_has_a_page_of_their_own(tmp_path):
    students = ["ada", "Ada", "=1+1", "=1-1", "st\\xff", "a/../b", "é" * 300]
    feedback.write(tmp_path, [graded(student) for student in students])
    written = [path.name for path in tmp_path.iterdir()]
    assert len({name.lower() for name in written}) == len(students)
    assert "ada.html" in written


def test_pages_from_earlier_are_removed_and_nobody_elses(tmp_path):
    feedback.write(tmp_path, [graded("ada"), graded("eve")])
    (tmp_path / "mine.html").write_text("<!DOCTYPE html>\n", encoding="utf-8")
    assert feedback.write(tmp_path, [graded("ada")]) == ["eve.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"ada.html", "mine.html"}


@pytest.mark.parametrize("student", ["John Doe_123", "John_Q. Doe_123", "John Doe_123_assignsubmission_file"])
def test_moodle_finds_whose_a_page_is(student):
    person, number, kind, plugin, file = feedback.file_name(student, moodle=True).split("_", 4)
    assert (number, kind, plugin, file) == ("123", "assignfeedback", "file", "feedback.html")
    assert person


# Gradebooks.

CANVAS = (
    "Student,ID,SIS Login ID,Section,Quiz (7),Exercises (8),Final Score\r\n"
    ",,,,Manual Posting,,\r\n"
    f"    Points Possible,,,,10,{OF:g},(read only)\r\n"
    '"Doe, John",101,jdoe,"S ""1""",9.00,,90.0\r\n'
    '"Lovelace, Ada",102,ada,S1,8.00,3.00,80.0\r\n'
    '"=HYPERLINK(1)",103,eve,S1,7.00,"",70.0\r\n'
    '"Ngô, Bảo",104,ngo@example.org,S1,6.00,EX,70.0\r\n'
)
WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed\n"
    f"Participant 11,John Doe,jdoe@example.org,Submitted,,{OF:.2f},Yes\n"
    f"Participant 12,Ada Lovelace,ada@example.org,Submitted,,{OF:.2f},Yes\n"
    f"Participant 13,John Doe,john@example.org,Submitted,,{OF:.2f},Yes\n"
)
EXPORT = (
    'Vorname;Nachname;ID-Nummer;E-Mail-Adresse;"Aufgabe: Exercises (Punkte)";"Zuletzt geladen"\n'
    "John;Doe;;jdoe@example.org;-;1700000000\n"
    "Ada;Lovelace;s-77;ada@example.org;-;1700000000\n"
)


def fill(tmp_path, content, platform, students, column=None):
    """The filled table, and what is said of it."""
    path = tmp_path / "export.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    found, said = Gradebook(path, platform, column).fill([graded(student, relu=0.0) for student in students])
    assert path.read_bytes() == before
    return found, said


def column(content, place, delimiter=","):
    return [row[place] for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), ""), delimiter=delimiter)]


@pytest.mark.parametrize("student", ["doejohn_101", "jdoe", "John Doe", "101", "doejohn_LATE_101"])
def test_canvas_students_are_found_by_number_login_and_name(tmp_path, student):
    found, said = fill(tmp_path, CANVAS, "canvas", [student], "Exercises")
    assert column(found, 5)[3:] == [f"{OF - 1:g}", "3.00", "", "EX"]
    assert said == ["1 of 4 rows filled in column 'Exercises (8)'", "stays empty: =HYPERLINK(1)"]


@pytest.mark.parametrize("student", ["doejohn_102", "doejohn_999", "eve_103", "bob", "S1", "9.00", "", "anon_x_101"])
def test_who_is_not_certain_is_listed_and_changes_nothing(tmp_path, student):
    found, said = fill(tmp_path, CANVAS, "canvas", [student], "Exercises")
    if student == "eve_103":  # number and login agree
        assert column(found, 5)[5] == f"{OF - 1:g}"
        return
    assert found == CANVAS.encode()
    assert said[1:] == [f"{student}: no row", "stays empty: Doe, John", "stays empty: =HYPERLINK(1)"]


@pytest.mark.parametrize("student", ["s77", "s-7-7", "S-77"])
def test_accounts_with_numbers_are_the_same_only_to_the_letter(tmp_path, student):
    said = fill(tmp_path, EXPORT, "moodle", [student], "Exercises")[1]
    assert said[0].startswith("1 of 2" if student == "S-77" else "0 of 2")


def test_a_number_that_agrees_goes_before_a_login_that_looks_alike(tmp_path):
    found, _ = fill(tmp_path, CANVAS.replace(",ada,", ",doejohn101,"), "canvas", ["doejohn_101"], "Exercises")
    assert column(found, 5)[3:5] == [f"{OF - 1:g}", "3.00"]


@pytest.mark.parametrize("student", ["John", "Doe", "Lovelace", "Doe_11"])
def test_a_part_of_a_name_is_not_enough(tmp_path, student):
    assert fill(tmp_path, EXPORT, "moodle", [student], "Exercises")[1][1] == f"{student}: no row"


def test_a_part_of_a_name_with_the_number_is_enough(tmp_path):
    found, _ = fill(tmp_path, WORKSHEET.replace("Ada Lovelace", "Ada"), "moodle", ["Ada_12"])
    assert column(found, 4)[2] == f"{OF - 1:g}"


def test_two_submissions_for_one_row_fill_none(tmp_path):
    found, said = fill(tmp_path, CANVAS, "canvas", ["jdoe", "doejohn_101", "ada"], "Exercises")
    assert column(found, 5)[3:5] == ["", f"{OF - 1:g}"]
    assert said[1:3] == ["doejohn_101: not certain which row", "jdoe: not certain which row"]


@pytest.mark.parametrize("old", ["3.00", f"{OF - 1:.2f}", "", "EX"])
def test_a_grade_that_is_written_over_is_listed(tmp_path, old):
    said = fill(tmp_path, CANVAS.replace("8.00,3.00", f"8.00,{old}"), "canvas", ["ada"], "Exercises")[1]
    listed = [f"changed: {old} -> {OF - 1:g} (Lovelace, Ada)"] if old in ("3.00", "EX") else []
    assert said[1:] == [*listed, "stays empty: Doe, John", "stays empty: =HYPERLINK(1)"]


def test_all_but_the_filled_cells_stay_as_they_are_to_the_byte(tmp_path):
    found, _ = fill(tmp_path, CANVAS, "canvas", ["ada"], "Exercises")
    assert found == CANVAS.replace("8.00,3.00", f"8.00,{OF - 1:g}").encode()


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (b"", "utf-8"), (b"", "latin-1"), (codecs.BOM_UTF16_LE, "utf-16-le")],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_and_encoding_are_kept(tmp_path, mark, encoding, delimiter):
    text = CANVAS.replace("Ngô, Bảo", "Müller").replace('"Doe, John"', "Doe").replace('"Lovelace, Ada"', "Lovelace")
    text = text.replace(",", delimiter)
    found, _ = fill(tmp_path, mark + text.encode(encoding), "canvas", ["muller", "ada"], "Exercises")
    changed = text.replace(f"{delimiter}3.00", f"{delimiter}{OF - 1:g}").replace("EX", f"{OF - 1:g}")
    assert found == mark + changed.encode(encoding)


@pytest.mark.parametrize("wanted", ["Exercises", "Exercises (8)", "ises (8"])
def test_a_column_is_chosen_by_its_title_or_by_what_no_other_has(tmp_path, wanted):
    found, _ = fill(tmp_path, CANVAS.replace("Quiz (7)", "Exercises 2 (7)"), "canvas", ["ada"], wanted)
    assert column(found, 5)[4] == f"{OF - 1:g}"


def test_another_maximum_scales_the_points(tmp_path):
    found, said = fill(tmp_path, CANVAS.replace(f"10,{OF:g}", "10,100"), "canvas", ["ada"], "Exercises")
    assert float(column(found, 5)[4]) == pytest.approx(100 * (OF - 1) / OF, abs=0.005)
    assert said[0].endswith(f"{OF:g} points are its 100")


@pytest.mark.parametrize("student", ["John Doe_11", "John Doe_11_assignsubmission_file", "jdoe@example.org", "jdoe"])
def test_a_moodle_worksheet_is_filled_by_number_and_address(tmp_path, student):
    found, said = fill(tmp_path, WORKSHEET, "moodle", [student, "John Doe"])
    assert column(found, 4)[1:] == [f"{OF - 1:g}", "", ""]
    assert said[1:] == [
        "John Doe: not certain which row",
        "stays empty: Participant 12 Ada Lovelace",
        "stays empty: Participant 13 John Doe",
    ]


def test_a_moodle_export_is_filled_in_any_language(tmp_path):
    found, said = fill(tmp_path, EXPORT, "moodle", ["John Doe_11", "s-77"], "Exercises")
    assert column(found, 4, ";")[1:] == [f"{OF - 1:g}"] * 2
    assert said == [f"2 of 2 rows filled in column 'Aufgabe: Exercises (Punkte)'; let its maximum be {OF:g}"]


@pytest.mark.parametrize(
    ("content", "platform", "wanted"),
    [
        (CANVAS, "canvas", None),
        (CANVAS, "canvas", "Essay"),
        (CANVAS, "canvas", "Final Score"),
        (CANVAS, "canvas", "ID"),
        (CANVAS, "canvas", "("),
        (EXPORT, "moodle", None),
        ("", "canvas", "Exercises"),
        (b"PK\3\4", "canvas", "Exercises"),
        (codecs.BOM_UTF16_LE + b"\0", "canvas", "Exercises"),
    ],
)
def test_an_export_that_cannot_be_filled_is_refused_by_name(tmp_path, content, platform, wanted):
    with pytest.raises(ValueError, match=r"export\.csv"):
        fill(tmp_path, content, platform, [], wanted)


# Totals and mistakes.


def test_totals_have_a_row_for_each_student_and_no_formulas(tmp_path):
    totals.write(tmp_path / "totals.csv", [ADA, graded("=1+1")])
    with open(tmp_path / "totals.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["student"], float(row["points"]), float(row["of"])) for row in rows] == [
        ("ada", EARNED, OF), ("'=1+1", OF, OF),
    ]  # fmt: skip
    assert rows[0]["exercise 6"] == "1"


def test_whoever_makes_a_mistake_in_two_functions_counts_once(tmp_path):
    students = [graded("ada", relu=0.0, relu_backward=0.0), graded("eve", relu=0.0, fold=0.0)]
    assert [(count.exercise, len(count.students)) for count in mistakes.counts(students)] == [(6, 2), (14, 1)]
    mistakes.write(tmp_path, students)
    table = (tmp_path / "summary.md").read_text("utf-8")
    assert "| 2 | 6 | `relu`, `relu_backward` | a \\| mistake |" in table
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")


def test_without_mistakes_there_is_no_figure(tmp_path):
    mistakes.write(tmp_path, [graded()])
    assert [path.name for path in tmp_path.iterdir()] == ["summary.md"]


# End to end, as far as it goes without the services.


PAGE = (ROOT / "tutorials/INSTRUCTORS.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Where you teach\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.M | re.S)
CLASS = [name.split("_") for name in a_class.names(16)]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A class of 16 with the commands of the instructor's page, in its order."""
    folder = tmp_path_factory.mktemp("course")
    a_class.write_class(folder / "submissions", len(CLASS))
    head = ["Student,ID,SIS Login ID,Section,Exercises (8)", f"    Points Possible,,,,{OF:g}"]
    rows = [f'"Student, {number}",{number},{login},S1,' for login, number in CLASS]
    (folder / "canvas.csv").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    head = "Identifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed,Last modified (grade)"
    rows = [f"Participant {number},{login},,,,{OF:.2f},Yes,-" for login, number in CLASS]
    (folder / "worksheet.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    for command in [text for kind, text in BLOCKS if not kind]:
        finished = subprocess.run(
            command.replace(".venv/bin/python", f'"{sys.executable}"'), shell=True, cwd=folder,
            env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
    return folder


def read_as_canvas(content):
    """Who gets what, as https://github.com/instructure/canvas-lms reads it (``lib/gradebook_importer.rb``)."""
    lines = content.decode("utf-8-sig").splitlines()
    fields = {d: {len(next(csv.reader([line], delimiter=d))) for line in lines[:3]} for d in ";,"}
    counts = {delimiter: count.pop() if len(count) == 1 else 0 for delimiter, count in fields.items()}
    head, *rows = csv.reader(lines, delimiter=";" if counts[";"] > counts[","] else ",")
    assert "Student" in head[0]
    assert "ID" in head[1]
    people = 5 if re.search(r"SIS\s+User\s+ID", head[2]) else 4 if re.search(r"SIS\s+Login\s+ID", head[2]) else 3
    assert "Section" in head[people - 1]
    (place,) = (place for place, name in enumerate(head) if place >= people and name.startswith("Exercises"))
    grades = {row[1]: row[place] for row in rows if row[0] and "Points Possible" not in row[0]}
    assert all(re.fullmatch(r"-?[0-9.,]+%?", grade) for grade in grades.values())
    return {number: float(grade) for number, grade in grades.items()}


def read_as_moodle(content):
    """Who gets what, as https://github.com/moodle/moodle reads a worksheet (``importgradeslib.php``)."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8")))
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(rows.fieldnames)
    return {row["Identifier"][len("Participant ") :]: float(row["Grade"]) for row in rows}


@pytest.mark.slow
def test_all_files_of_a_class_have_the_same_points(course):
    with open(course / "grades.csv", newline="", encoding="utf-8") as file:
        sums = dict.fromkeys(a_class.names(len(CLASS)), 0.0)
        for row in csv.DictReader(file):
            sums[row["student"]] += float(row["points"])
    with open(course / "totals.csv", newline="", encoding="utf-8") as file:
        in_totals = {row["student"]: float(row["points"]) for row in csv.DictReader(file)}
    assert in_totals == pytest.approx(sums, abs=0.006)
    by_number = {name.partition("_")[2]: earned for name, earned in in_totals.items()}
    assert read_as_canvas((course / "grades-canvas.csv").read_bytes()) == by_number
    assert read_as_moodle((course / "grades-moodle.csv").read_bytes()) == by_number
    for name, earned in in_totals.items():
        page = course / f"feedback/{name}_assignfeedback_file_feedback.html"
        assert f"{earned:g} of {OF:g} points" in page.read_text("utf-8")
    assert len(list((course / "feedback").iterdir())) == len(CLASS)  # those with other names, from before, are gone


@pytest.mark.slow
def test_the_mistakes_of_a_class_are_named(course):
    table = (course / "summary/summary.md").read_text("utf-8")
    assert "| 10 | `step_4_d_x`" in table
    assert (course / "summary/mistakes.png").exists()


@pytest.mark.slow
def test_the_page_makes_the_autograder_and_the_workflow(course):
    assert zipfile.is_zipfile(course / "autograder.zip")
    assert "repository: OWNER/REPOSITORY\n" in (course / "classroom.yml").read_text("utf-8")


@pytest.mark.slow
def test_the_template_of_the_page_grades_in_coderunner(tmp_path):
    (template,) = (text for kind, text in BLOCKS if kind == "python")
    answer = (a_class.SOLUTIONS / a_class.FILES[10]).read_text("utf-8").replace(" + d_mean / m", "")
    escaped = answer.replace("\\", "\\\\").replace('"', '\\"')
    program = template.replace("{{ STUDENT_ANSWER | e('py') }}", escaped).replace("/opt/course", str(ROOT))
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT
    )
    found = json.loads(finished.stdout)
    check_coderunner(found)
    assert 0 < found["fraction"] < 1
    assert not finished.stderr


@pytest.mark.slow
def test_the_settings_of_the_page_grade_in_prairielearn(tmp_path):
    (settings,) = (text for kind, text in BLOCKS if kind == "json")
    options = json.loads(f"{{{settings}}}")["externalGradingOptions"]
    (tmp_path / a_class.FILES[10]).write_bytes((a_class.SOLUTIONS / a_class.FILES[10]).read_bytes())
    command = [sys.executable, *options["entrypoint"][1:]]
    command[command.index("/grade/student")] = str(tmp_path)
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    results = tmp_path / "results/results.json"
    subprocess.run([*command, "--results", results], env=environment, cwd=tmp_path, check=True, timeout=TIMEOUT)
    found = json.loads(results.read_text("utf-8"))
    check_prairielearn(found)
    assert found["score"] == 1


@pytest.mark.slow
def test_the_autograder_works_where_gradescope_unpacks_it(tmp_path):
    """https://gradescope-autograders.readthedocs.io/en/latest/specs/#file-hierarchy, with Python as it is here."""
    gradescope.make_zip(tmp_path / "autograder.zip")
    source = tmp_path / "source"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        archive.extractall(source)
    assert modes["setup.sh"] == modes["run_autograder"] == 0o100755
    assert not [name for name in modes if name.startswith("tests/")]
    script = tmp_path / "run_autograder"
    script.write_bytes((source / "run_autograder").read_bytes())
    script.chmod(0o755)
    for folder in ("venv/bin", "results"):
        (tmp_path / folder).mkdir(parents=True)
    python = tmp_path / "venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    a_class.write_class(tmp_path / "class", 1)
    (tmp_path / "class" / a_class.names(1)[0]).rename(tmp_path / "submission")
    environment = ENVIRONMENT | {"AUTOGRADER": str(tmp_path)}
    subprocess.run([script], env=environment, cwd=tmp_path, check=True, timeout=TIMEOUT, capture_output=True)
    found = json.loads((tmp_path / "results/results.json").read_text("utf-8"))
    check_gradescope(found)
    assert 0 < sum(test["score"] for test in found["tests"]) < OF
    assert len(found["tests"]) == len(points())


@pytest.mark.slow
def test_scripts_of_the_autograder_are_bash(tmp_path):
    gradescope.make_zip(tmp_path / "autograder.zip")
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        for name in ("setup.sh", "run_autograder"):
            subprocess.run(["bash", "-n"], input=archive.read(name), check=True)
        setup = archive.read("setup.sh").decode()
    assert '"numpy>=2.0"' in setup


@pytest.mark.slow
def test_the_workflow_runs_the_command_that_writes_what_its_report_reads(tmp_path):
    workflow = github_classroom.WORKFLOW.format(course="o/course", packages="numpy")
    (module, submission) = re.search(r"run: python -m (\S+) grade (\S+)", workflow).groups()
    assert "\n  run-autograding-tests:\n" in workflow  # as notify-classroom.js calls it
    assert "EXERCISES_RESULTS: ${{ steps.exercises.outputs.result }}" in workflow
    assert "runners: exercises" in workflow
    a_class.write_class(tmp_path / "class", 1)
    (tmp_path / "class" / a_class.names(1)[0]).rename(tmp_path / "submission")
    (tmp_path / "course").mkdir()
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT), "GITHUB_OUTPUT": str(tmp_path / "output")}
    command = [sys.executable, "-m", module, "grade", submission]
    subprocess.run(command, cwd=tmp_path / "course", env=environment, check=True, timeout=TIMEOUT, capture_output=True)
    name, _, encoded = (tmp_path / "output").read_text("utf-8").strip().partition("=")
    assert name == "result"
    check_classroom(json.loads(base64.b64decode(encoded)))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["def (:", "import os\nos._exit(0)", "raise ValueError('\\ud800')", None])
def test_whatever_a_submission_does_there_is_a_result(tmp_path, text):
    if text is not None:
        (tmp_path / a_class.FILES[6]).write_text(text)
    found = grade_one(tmp_path, 6)
    assert {verdict["exercise"] for verdict in found["verdicts"]} == {6}
    assert (found["points"], found["of"]) == (0, 2)
    for results, check in SERVICES.values():
        check(json.loads(json.dumps(results(found))))


@pytest.mark.parametrize("name", ["grades.csv", "grades-canvas.csv", "totals.csv"])
def test_an_export_is_never_written_over(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(CANVAS)
    parser = argparse.ArgumentParser()
    parser.add_argument("--csv", type=Path, default=Path("grades.csv"))
    outputs.add_options(parser)
    args = parser.parse_args(["--canvas", str(tmp_path / name), "--totals", "totals.csv", "--column", "Exercises"])
    with pytest.raises(ValueError, match="rename the export"):
        outputs.exports(args)
