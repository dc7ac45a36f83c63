"""Starts the lessons when the tests start, beside the other tests: they take as long as all the rest.

Only lessons that a selected test waits for: with ``-m 'not slow'``, none.
"""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
from run_lesson import run


def pytest_collection_finish():
    """Spare the garbage collector the tests themselves, thousands of objects: many tests collect garbage."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def lessons(request, tmp_path_factory):
    """The lessons to be tested, running two at a time: {name: (the process to wait for, its folder)}."""
    tests = [item for item in request.session.items if "lesson" in getattr(item, "fixturenames", ())]
    chosen = sorted({item.callspec.params["lesson"] for item in tests})
    with ThreadPoolExecutor(2) as pool:
        folders = {lesson: tmp_path_factory.mktemp(lesson) for lesson in chosen}
        yield {lesson: (pool.submit(run, lesson, folder=folder), folder) for lesson, folder in folders.items()}
