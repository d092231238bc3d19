"""Describes the content of a bundle in readable lines (`edge-convert inspect`)."""

from __future__ import annotations

from pathlib import Path

from headway.bundle import TrainingRows, decode_variant, read_container


def inspect_lines(path: Path) -> list[str]:
    """Manifest, members and figures of a bundle file. Raises BundleError when it is not whole."""
    container = read_container(path)
    variant = decode_variant(container)
    pre = variant.preprocessing
    expansion = variant.features.expansion
    facts = {
        "model": f"{variant.name} {variant.version}, release {variant.release}",
        "bundle": f"{variant.sha256}, {'signed' if container.signature else 'not signed'}",
        "input": f"{variant.input_shape}, missing: {pre.missing}, denoise: {pre.denoise}, "
        f"standardise: {'no' if pre.offset is None else 'yes'}",
        "head": f"{variant.head.kind} over {len(variant.classes)}: {', '.join(variant.classes)[:200]}",
        "features": f"{variant.features.size} from a {variant.features.embedding_size}-d embedding"
        + ("" if variant.features.components is None else ", projected")
        + (
            ""
            if expansion is None
            else f", {len(expansion.bias)} random of {'input' if expansion.of_input else 'them'}"
        ),
        "space": variant.space,
        "source": f"{variant.training_statistics.samples} samples {variant.training_statistics.counts.tolist()[:32]}",
        "buffer": _rows(variant.buffer),
        "evaluate": _rows(variant.evaluation),
        "licence": variant.licence or "none given",
        "from": variant.provenance or "none given",
    }
    lines = [f"{name:<10}{text}" for name, text in facts.items()]
    if pre.front_end is not None:
        lines.append(f"{'front end':<10}{pre.front_end}, as {pre.output_shape}")
    if variant.without_backbone:
        lines.append(f"{'backbone':<10}none: a device needs NumPy alone")
    for backbone in variant.backbones:
        runs = ", ".join(f"{name} >= {oldest}" for name, oldest in sorted(backbone.runtimes.items())) or "not proven"
        lines.append(f"{'backbone':<10}{backbone.engine} {backbone.precision}, {len(backbone.payload)} bytes, {runs}")
    lines += [f"{'member':<10}{name}, {len(payload)} bytes" for name, payload in sorted(container.members.items())]
    lines += [f"{name:<20}{value}" for name, value in sorted(variant.report.items()) if not isinstance(value, list)]
    return lines


def _rows(rows: TrainingRows | None) -> str:
    return "none" if rows is None else f"{len(rows.values)} rows, {rows.values.dtype}"
