"""Turn a checkpoint of another project into what masktools reads; nothing in it is executed.

A file of specvqgan, hifigan or bigvgan becomes a part that `masktools bundle` takes. Of a vit, a
vision transformer in timm's layout such as AudioMAE, the blocks are taken over into a transformer with which training
begins. A folder of magnet, as it is published (state_dict.bin, compression_state_dict.bin), becomes a whole model: OUT
is then its folder.
"""

import argparse
from pathlib import Path

from masktools.cli import files, options
from masktools.core.errors import ParameterError

HELP = "import a checkpoint of another project"
MAGNET = "magnet"
_CARD = """# {name}

MAGNeT, converted from the public checkpoint in a folder named {source!r}: a masked transformer over {n_streams} token
streams of EnCodec at {rate} Hz, trained on clips of {seconds:g} s, with {n_weights:.1f} million parameters.

- Paper: Ziv et al., Masked Audio Generation using a Single Non-Autoregressive Transformer (arXiv:2401.04577).
- Licence of the weights: CC-BY-NC-4.0. They are no part of masktools, and it binds what is made with them.
- Texts are read by {t5}, which is not in this folder: name a folder of transformers with it in MASKTOOLS_T5.
- The settings of the decoding are those that came with the checkpoint.
- It generates and fills gaps; it extends no bandwidth.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("kind", metavar="KIND", help="specvqgan, hifigan, bigvgan, vit or magnet")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file of weights; a folder for magnet")
    options.add_output(parser, "the part, for `masktools bundle`; the model's folder for magnet", metavar="OUT")
    parser.add_argument("--config", type=Path, metavar="JSON", help="its settings; config.json beside it if left out")
    parser.add_argument(
        "--codec", type=Path, metavar="FILE", help="magnet: the codec's file, where the folder only names a codec"
    )
    parser.add_argument(
        "--prior", type=Path, metavar="FOLDER", help="magnet: a folder of MusicGen over the same codec, which rescores"
    )
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Read, convert, write."""
    if args.kind == MAGNET:
        return _run_magnet(args)
    if args.codec is not None or args.prior is not None:
        raise ParameterError(f"--codec and --prior go with magnet, not with {args.kind}: leave them out")
    inputs = [args.checkpoint, *([args.config] if args.config else [])]
    files.check_outputs([args.output], inputs, ending=".safetensors", overwrite=args.overwrite)
    from masktools.cli.parts import write_part
    from masktools.mel import MelConfig
    from masktools.pipeline.convert import SPECVQGAN_MEL, convert_checkpoint

    module = convert_checkpoint(args.kind, args.checkpoint, args.config)
    unsaid = SPECVQGAN_MEL if args.kind == "specvqgan" else MelConfig()
    part, kind = write_part(args.output, module, getattr(module, "mel_config", unsaid))
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    print(f"{args.output}: a {part} of kind {kind}, {n_weights / 1e6:.2f} million parameters")
    return 0


def _run_magnet(args: argparse.Namespace) -> int:
    """Convert a folder of MAGNeT's into a bundle."""
    if args.config is not None:
        raise ParameterError("magnet's settings stand in its own files: leave --config out")
    if args.output.exists():
        raise ParameterError(f"the bundle's folder must not exist yet, got {args.output}: choose another, or remove it")
    from masktools.networks.conditioning import DeferredT5
    from masktools.pipeline import StreamWalk, hub
    from masktools.pipeline.convert import magnet_from

    made = magnet_from(args.checkpoint, args.codec, args.prior)
    n_weights = sum(parameter.numel() for parameter in made.transformer.parameters()) / 1e6
    card = _CARD.format(
        name=args.output.name,
        source=args.checkpoint.resolve().name,
        n_streams=made.codec.n_rows,
        rate=made.codec.config.sample_rate,
        seconds=made.seconds,
        n_weights=n_weights,
        t5=made.t5.name,
    )
    decoding = {"generate": made.decoding, "inpaint": made.decoding}
    conditioner = DeferredT5(made.t5.noted())
    walk = StreamWalk(
        made.mel, made.codec, made.transformer, conditioner=conditioner, prior=made.prior, decoding=decoding
    )
    hub.save_bundle(walk, args.output, card)
    print(f"{args.output}: a model of {n_weights:.2f} million parameters, of weights under CC-BY-NC-4.0")
    return 0
