"""Implements `edge-agent completion`: what a shell needs to complete the program's words by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BASH = """\
_edge_agent() {{
    local word command="" words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in {names}) command="$word"; break ;; esac
    done
    case "$command" in
        "") words="{all_names} --help --log-format --log-level --version" ;;
{cases}
    esac
    word="${{COMP_WORDS[COMP_CWORD]}}"
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ -n "$command" && "$word" != -* ]]; then COMPREPLY+=($(compgen -f -- "$word")); fi
}}
complete -o filenames -F _edge_agent edge-agent
"""
ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"
# what bash-completion loads at the first tab; the program itself knows its words
LOADED_BY_BASH = 'eval "$(edge-agent completion bash)"\n'
SHELLS_OF_COMPLETION = "bash zsh fish"


def completion_script(shell: str, options: Mapping[str, Sequence[str]]) -> str:
    """A script for bash, zsh or fish. options: those of each command, by its name."""
    if shell == "fish":
        return _fish(options)
    words = {name: " ".join(given) for name, given in options.items()}
    words["completion"] = f"{words.get('completion', '')} {SHELLS_OF_COMPLETION}".strip()
    cases = "\n".join(f'        {name}) words="{given}" ;;' for name, given in words.items())
    script = BASH.format(names="|".join(words), all_names=" ".join(words), cases=cases)
    return (ZSH if shell == "zsh" else "") + script


def _fish(options: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c edge-agent -n __fish_use_subcommand -f -a '{' '.join(options)}'"]
    for name, given in options.items():
        known = f"complete -c edge-agent -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{known} -l {option.removeprefix('--')}" for option in given if option.startswith("--")]
    lines.append(f"complete -c edge-agent -n '__fish_seen_subcommand_from completion' -f -a '{SHELLS_OF_COMPLETION}'")
    return "\n".join(lines) + "\n"
