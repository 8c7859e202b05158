"""Progress lines reach a slow reader in order, latest figures first, and cost no memory."""

from __future__ import annotations

import asyncio

from corten_shared.models.image import PullProgress
from cortend.services.progress import INTERVAL, ProgressBoard


def _read(board):
    async def read():
        return [(line.status, line.id, line.current) async for line in board.lines()]

    return asyncio.run(read())


def test_lines_come_in_order_and_end():
    board = ProgressBoard(PullProgress)
    board.say("Pulling from x", "latest")
    board.count("Downloading", "a", 1, 10)
    board.say("Download complete", "a")
    board.close()
    assert [line[0] for line in _read(board)] == ["Pulling from x", "Downloading", "Download complete"]


def test_figures_that_wait_are_replaced_by_newer_ones():
    board = ProgressBoard(PullProgress)
    for current in range(1, 10_000):
        board.count("Downloading", "a", current, 10_000)
    board.close()
    assert _read(board) == [("Downloading", "a", 9_999)]


def test_a_fast_reader_gets_at_most_one_line_per_interval_and_the_last():
    now = 0.0
    board = ProgressBoard(PullProgress, clock=lambda: now)
    seen = []

    async def play():
        nonlocal now
        lines = board.lines()
        for step in range(100):
            now = step * INTERVAL / 10
            board.count("Downloading", "a", step + 1, 100)
            if board._waiting:
                seen.append((await anext(lines)).current)

    asyncio.run(play())
    assert seen[0] == 1 and seen[-1] == 100 and 10 <= len(seen) <= 12


def test_layers_do_not_hide_each_other():
    board = ProgressBoard(PullProgress)
    board.count("Downloading", "a", 1, 10)
    board.count("Downloading", "b", 2, 10)
    board.close()
    assert _read(board) == [("Downloading", "a", 1), ("Downloading", "b", 2)]
