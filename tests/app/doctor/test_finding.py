from w2v2_mt.app.doctor.finding import Finding, State, format_findings


def finding(subject: str, state: State, **more) -> Finding:
    return Finding(subject=subject, state=state, found="found it", needed_for="walks", **more)


def test_missing_things_come_first_with_their_use_and_commands():
    text = format_findings(
        [
            finding("curl", State.OK, commands=["apt-get install curl"]),
            finding("wandb", State.NOTE),
            finding("ffmpeg", State.MISSING, commands=["apt-get install ffmpeg", "true"]),
        ],
        width=80,
    )
    assert text.splitlines() == [
        "missing  ffmpeg  found it",
        "                 for walks",
        "                 $ apt-get install ffmpeg",
        "                 $ true",
        "note     wandb   found it",
        "                 for walks",
        "ok       curl    found it",
    ]


def test_long_text_is_wrapped_next_to_its_subject_but_a_command_is_not():
    long = Finding(
        subject="disk",
        state=State.MISSING,
        found="word " * 30,
        needed_for="all",
        commands=["x" * 90],
    )
    *text, command = format_findings([long], width=50).splitlines()
    assert all(len(line) <= 50 for line in text)
    assert all(line.startswith(" " * 15) for line in text[1:])
    assert command.endswith("$ " + "x" * 90)
