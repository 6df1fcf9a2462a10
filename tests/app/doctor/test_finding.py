from w2v2_mt.app.doctor.finding import Finding, State, is_fatal, lines_of


def finding(subject: str, state: State, **more) -> Finding:
    return Finding(subject=subject, state=state, found="found it", needed_for="walks", **more)


def test_what_is_missing_comes_first_with_its_use_and_its_commands():
    lines = lines_of(
        [
            finding("curl", State.OK),
            finding("wandb", State.NOTE),
            finding("ffmpeg", State.MISSING, commands=["apt-get install ffmpeg", "true"]),
        ],
        num_columns=80,
    )
    assert lines == [
        "missing  ffmpeg  found it",
        "                 for walks",
        "                 $ apt-get install ffmpeg",
        "                 $ true",
        "note     wandb   found it",
        "                 for walks",
        "ok       curl    found it",
    ]


def test_long_text_is_wrapped_beside_its_subject_but_a_command_can_be_copied_whole():
    long = Finding(
        subject="disk",
        state=State.MISSING,
        found="word " * 30,
        needed_for="all",
        commands=["x" * 90],
    )
    *text, command = lines_of([long], num_columns=50)
    assert all(len(line) <= 50 for line in text)
    assert all(line.startswith(" " * 15) for line in text[1:])
    assert command.endswith("$ " + "x" * 90)


def test_no_command_runs_only_without_what_all_of_them_need():
    assert is_fatal(finding("Python", State.MISSING, all_need_it=True))
    assert not is_fatal(finding("Python", State.OK, all_need_it=True))
    assert not is_fatal(finding("ffmpeg", State.MISSING))
