"""A KRT's text for Airflow's Code tab: no secret in it, as many lines as before, and the rest as written (P5)."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kai_airflow.krt import check, mask

EXAMPLE = (Path(__file__).parents[2] / "dags/github-trainer/krt.yaml").read_text()
SECRET = "hunter2"
KEYS = [
    "password",
    "DB_PASSWORD",
    "passwd",
    "pwd",
    "db_pass",
    "passphrase",
    "secret",
    "github_secret",
    "clientSecret",
    "token",
    "access-token",
    "api_key",
    "apikey",
    "apiKey",
    "private_key",
    "access_key_id",
    "AWS_SECRET_ACCESS_KEY",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "oauth",
]


@pytest.mark.parametrize("key", KEYS)
def test_the_values_of_sensitive_looking_keys_are_masked(key: str) -> None:
    assert mask(f"a: 1\n{key}: {SECRET}\nb: 2\n") == f"a: 1\n{key}: ***\nb: 2\n"


@pytest.mark.parametrize(
    "key", ["webhook_events", "author", "authors", "passed", "bypass", "tokenizer", "compass", "keys"]
)
def test_the_values_of_other_keys_are_shown(key: str) -> None:
    text = f"config: {{{key}: shown}}\n"
    assert mask(text) == text


STYLES = {
    "plain": "token: hunter2\nz: 1",
    "single quotes": "token: 'hunter2'\nz: 1",
    "double quotes": 'token: "hunter2"\nz: 1',
    "double quotes with escapes": 'token: "hunter\\x32 hunter2"\nz: 1',
    "a quoted key": '"token": hunter2\nz: 1',
    "an escaped key": '"to\\x6ben": hunter2\nz: 1',
    "an explicit key": "? token\n: hunter2\nz: 1",
    "a literal block": "token: |\n  hunter2\n\n  hunter2\nz: 1",
    "a folded block": "token: >-\n  hunter2\n  hunter2\n\n\nz: 1",
    "a block with a comment": "token: | # hunter2\n  hunter2\nz: 1",
    "plain over lines": "token: hunter2\n  hunter2\n\n  hunter2\nz: 1",
    "quotes over lines": "token: 'hunter2\n\n  hunter2'\nz: 1",
    "a value on the next line": "token:\n  hunter2\nz: 1",
    "a flow map": "{token: hunter2, z: 1}",
    "a flow map over lines": "{token:\nhunter2\n, z: 1}",
    "a flow map as JSON": '{"token":"hunter2","z":1}',
    "a pair in a flow list": "[token: hunter2, z: 1]",
    "a list": "token:\n- hunter2\n- [hunter2]\nz: 1",
    "a map": "token:\n  hunter2: hunter2\n  deep: {er: hunter2}\nz: 1",
    "an anchored value": "token: &a hunter2\nother: *a\nz: 1",
    "an anchor on a line of its own": "token: &a\n  hunter2\nz: 1",
    "an alias": "other: &a hunter2\ntoken: *a\nz: 1",
    "an alias of a map": "other: &a {b: hunter2, c: [hunter2]}\ntoken: *a\nz: 1",
    "an alias inside a list": "other: &a hunter2\ntokens: [*a]\nz: 1",
    "an alias in a merge": "other: &a {b: hunter2}\ncredentials:\n  <<: *a\nz: 1",
    "an alias as the key": "name: &k token\n*k : hunter2\nz: 1",
    "a tag": "token: !!str hunter2\nz: 1",
    "a list as the key": "? [token]\n: hunter2\nz: 1",
    "a pair of name and value": "env:\n- name: DB_PASSWORD\n  value: hunter2\nz: 1",
    "a second document": "a: b\n---\ntoken: hunter2\n---\nz: 1",
    "a comment": "a: b\n# token: hunter2\nz: 1",
    "a comment behind a value": "a: b # token: hunter2\nz: 1",
    "a comment of several lines": "a: b\n# token: |\n#   hunter2\n#   hunter2\nz: 1",
    "JSON in a value": 'a: \'{"token": "hunter2"}\'\nz: 1',
    "escaped JSON in a value": 'a: "{\\"token\\": \\"hunter2\\"}"\nz: 1',
    "YAML in a block": "a: |\n  b: c\n  token:\n    hunter2\nz: 1",
    "an option": "args: [--token=hunter2, hi]\nz: 1",
    "a private key": "a: |\n  -----BEGIN RSA PRIVATE KEY-----\n  hunter2\nz: 1",
    "a URL": "url: nats://me:hunter2@host:4222\nz: 1",
    "a URL with a token alone": "url: nats://hunter2@host:4222\nz: 1",
    "a URL with an @ in its password": "url: nats://me:a@hunter2@host\nz: 1",
    "two URLs": "url: nats://me:hunter2@one,nats://me:hunter2@two\nz: 1",
    "an escaped URL": 'url: "nats:\\/\\/me:hunter2@host"\nz: 1',
    "a URL in a block": "a: |\n  see nats://me:hunter2@host\nz: 1",
    "a URL in a comment": "a: b # nats://me:hunter2@host\nz: 1",
    "a URL as a key": "nats://me:hunter2@host: b\nz: 1",
    "Windows line breaks": "token: |\r\n  hunter2\r\n  hunter2\r\nz: 1",
    "a byte order mark": "\ufefftoken: hunter2\nz: 1",
    "wide characters": "\U0001f600: {é: x, token: hunter2}\nz: 1",
    "other line breaks": "a: 'b\u2028c\x85'\ntoken: hunter2\nz: 1",
    "no YAML": "a: [\ntoken: hunter2\nz: 1",
    "no YAML, in quotes": "token: 'hunter2\nhunter2\nz: 1",
    "no YAML, in a block": "a: ]\ntoken: |\n  hunter2\n  hunter2:3\n\nz: 1",
    "no YAML, in flow": "{{{token:\n hunter2\nz: 1",
    "no YAML, a comment": "# token: hunter2\na: ]\nz: 1",
    "no YAML, a URL": "a: ]\nurl: nats://me:hunter2@host\nz: 1",
    "no YAML, a secret elsewhere": "a: &x hunter2\ntoken: *x\n]\nz: 1",
    "no text": "a: \x00\ntoken: hunter2\nz: 1",
    "a surrogate": "a: \ud800\ntoken: hunter2\nz: 1",
    "too deep": "[" * 100 + "\ntoken: hunter2\nz: 1",
}


@pytest.mark.parametrize("style", STYLES)
def test_a_secret_is_masked_in_every_style_and_the_lines_stay(style: str) -> None:
    text = STYLES[style]
    masked = mask(text)
    assert "hunter" not in masked
    assert "***" in masked
    assert len(masked.splitlines()) == len(text.splitlines())


def test_what_follows_a_secret_is_shown_as_written() -> None:
    text = "a: 'one'   # a comment\ntoken: |\n    hunter2\n    more\n\nb:   [ two,three ]\n"
    assert mask(text) == "a: 'one'   # a comment\ntoken: ***\n\n\n\nb:   [ two,three ]\n"


@pytest.mark.parametrize("password", ["&hunter2", "*hunter2", "!hunter2", "&a hunter2", "!!str hunter2"])
def test_a_password_that_lacks_its_quotes_is_masked_with_its_first_sign(password: str) -> None:
    assert mask(f"password: {password}\nother: shown\n") == "password: ***\nother: shown\n"


def test_a_byte_order_mark_changes_nothing() -> None:
    assert mask("\ufeffa: b\ntoken: hunter2\n") == "\ufeffa: b\ntoken: ***\n"


def test_the_user_and_host_of_a_url_are_shown() -> None:
    assert mask("url: nats://me:hunter2@host:4222/x\n") == "url: nats://me:***@host:4222/x\n"


@pytest.mark.parametrize("url", ["https://host:8080/path", "https://host/@scope/package", "me@example.com"])
def test_addresses_without_a_password_are_shown(url: str) -> None:
    assert mask(f"url: {url}\n") == f"url: {url}\n"


def test_the_example_of_kai_loses_its_secret_and_nothing_else() -> None:
    assert mask(EXAMPLE) == EXAMPLE.replace("github_secret: secret", "github_secret: ***")


def test_names_of_kubernetes_secrets_are_shown_and_other_secrets_are_not() -> None:
    process = "workflows:\n- processes:\n  - name: token-maker\n    secrets: [db-token, other]\n"
    assert mask(process) == process
    assert mask("config:\n  secrets: [hunter2]\n") == "config:\n  secrets: [***]\n"
    text = "workflows:\n- processes:\n  - config: {secrets: hunter2}\n    secrets: hunter2\n"
    assert "hunter2" not in mask(text)


def test_of_text_that_is_no_yaml_the_keys_of_krts_and_sensitive_ones_are_shown() -> None:
    text = "version: [\n  - name: d\n\n  e\nconfig:\n  my_token: x\n  other: y\n"
    assert mask(text) == "version: ***\n  - name: ***\n\n  ***\nconfig:\n  my_token: ***\n  ***\n"


def test_text_without_secrets_is_shown_as_written() -> None:
    text = "%YAML 1.1\n--- # first\na: &x {b: !!str 'c', ? d : \"e\\n\"}\nf:\n- *x\n-\n- |2-\n   g\n\n...\n# last"
    assert mask(text) == text


words = st.text(alphabet="ab :-'\"|>#{}[]&*!\n\\", max_size=8)


@given(
    words,
    st.sampled_from(["{}", "'{}'", '"{}"', "|\n  {}", ">-\n  {}\n  {}", "[{}]", "{{k: {}}}", "&a {}", "!!str {}"]),
    words,
)
@example("a: ", "{}", "\nb: c")
@settings(max_examples=1500, deadline=None)
def test_a_secret_is_never_shown_whatever_stands_around_it(before: str, style: str, after: str) -> None:
    text = f"{before}\npassword: {style.replace('{}', SECRET).replace('{{', '{').replace('}}', '}')}{after}"
    masked = mask(text)
    assert SECRET not in masked
    assert len(masked.split("\n")) == len(text.split("\n"))


@pytest.mark.parametrize(
    "old_and_new",
    [
        ("github_secret: secret", "github_secret: [hunter2]"),
        ("github_secret: secret", "github_secret: {hunter2: hunter2}"),
        ("github_secret: secret", "github_secret: {hunter2: {hunter2: 1, hunter2: 2}}"),
        ("github_secret: secret", "github_secret: *hunter2"),
        ("github_secret: secret", "github_secret: !hunter2 x"),
        ("github_secret: secret", "github_secret: !!python/name:hunter2 x"),
        ("github_secret: secret", "github_secret: @hunter2"),
        ("github_secret: secret", "github_secret: hunter2: x"),
        ("github_secret: secret", 'github_secret: "hunter2'),
        ("github_secret: secret", 'github_secret: "hunter2\\q"'),
        ("github_secret: secret", "github_secret: `hunter2"),
        ("github_secret: secret", "github_secret: x\n        nodeSelectors: {token: hunter2 and more}"),
        ("type: training", "type: nats://me:hunter2@host"),
        ("type: training", "type: token=hunter2"),
        ("- splitter.go", "- splitter.go nats://me:hunter2@host"),
        ("github_secret: secret", "github_secret:\n\t hunter2"),
    ],
)
def test_no_message_quotes_a_secret(old_and_new: tuple[str, str]) -> None:
    text = EXAMPLE.replace(*old_and_new)
    errors = check(text.encode(), PurePath("shop/krt.yaml")).errors
    assert errors
    assert not [error for error in errors if SECRET in str(error)]


def test_the_tag_of_an_image_is_not_taken_for_a_secret() -> None:
    text = "workflows:\n- processes:\n  - image: registry/auth-service:v1\n    config: {image: password:v1}\n"
    assert mask(text) == text.replace("password:v1", "password: ***")
