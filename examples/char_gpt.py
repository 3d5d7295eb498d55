"""A GPT learns to write, character by character, from any text.

    python examples/char_gpt.py
    python examples/char_gpt.py --text FILE --save gpt.safetensors
    python examples/char_gpt.py --load gpt.safetensors --steps 0 --prompt "Once "

Without a file it learns from the English that is part of every Python, the topics of ``help()``.
A model that knows nothing is as surprised by each character as by any other: by ln 100 ≈ 4.6 nats,
where there are 100 of them. To know how frequent each one is leaves 3.3; below that are words.
"""

import math
from collections import Counter
from dataclasses import asdict
from functools import partial

from _common import Flags, at_least, run

import tinygrad_attn as ta
from tinygrad_attn.data import (
    CharVocabulary,
    TextWindows,
    check_writable,
    default_text,
    read_text,
    split_text,
)
from tinygrad_attn.errors import CheckpointError
from tinygrad_attn.models import GPT, GPTConfig, evaluating
from tinygrad_attn.optim import AdamW, cosine
from tinygrad_attn.train import load_checkpoint, save_checkpoint, train
from tinygrad_attn.viz import loss_picture, save_picture


def main(command_line):
    """Everything that can be wrong with the input shows first; then train, save, and write."""
    args = read_flags(command_line)
    if args.steps or not args.load:
        text = read_text(args.text) if args.text else default_text()
    if args.load:
        model, vocabulary = load(args.load)
    else:
        vocabulary = CharVocabulary.of(text)
        model = GPT(sizes(len(vocabulary), args.quick))
    model.to(args.device)
    prompt = vocabulary.encode(args.prompt or vocabulary.characters[0])
    if args.steps:
        learn(model, vocabulary, text, args)
    if args.save:
        save(args.save, model, vocabulary)
    write(model, vocabulary, prompt, args)


def read_flags(command_line):
    """The flags of all examples and those of this one."""
    flags = Flags(
        "A GPT learns to write, character by character, from any text.",
        steps=2000,
        batch_size=16,
        lr=3e-3,
        quick={"steps": 20, "batch_size": 8, "length": 80, "every": 10},
    )
    flags.add_argument(
        "--text", metavar="FILE", help="UTF-8 text to learn from (Python's own help)"
    )
    flags.add_argument(
        "--load", metavar="FILE", help="begin with these weights; --steps 0 only writes"
    )
    flags.add_argument("--save", metavar="FILE", help="save the weights here, as safetensors")
    flags.add_argument(
        "--every", type=at_least(1), default=250, help="steps between validations (250)"
    )
    flags.add_argument("--prompt", help="what the sample at the end begins with")
    flags.add_argument(
        "--length", type=at_least(0), default=500, help="characters of the sample (500)"
    )
    args = flags.read(command_line)
    if args.prompt == "":
        flags.error("argument --prompt: it is empty; give at least one character")
    if args.plot and not args.steps:
        flags.error("argument --plot: the picture shows the training; give --steps of at least 1")
    if args.save:
        check_writable(args.save)
    return args


def sizes(characters, quick):
    """How large a model to train."""
    if quick:
        return GPTConfig(vocab_size=characters, block_size=32, n_layer=2, n_head=2, n_embd=32)
    return GPTConfig(vocab_size=characters, block_size=64, n_layer=2, n_head=4, n_embd=128)


# ---- learning ------------------------------------------------------------------------------------


def learn(model, vocabulary, text, args):
    """Train on the first nine tenths of the text; validate on the last, which it never sees."""
    context, rows = model.config.block_size, args.batch_size
    ids = vocabulary.encode(text)
    training, validation = (TextWindows(part, context) for part in split_text(ids, context))
    guesses = {
        "all characters alike": math.log(len(vocabulary)),
        "by their frequency": frequency_surprise(ids),
    }
    introduce(model, vocabulary, text, training, guesses, args)
    measured = []

    def report(steps, losses):
        recent = losses[-args.every :]
        measured.append((steps, mean_surprise(model, validation, rows)))
        return (
            f"step {steps:,}: {sum(recent) / len(recent):.3f} nats a character in training, "
            f"{measured[-1][1]:.3f} in validation"
        )

    losses = train(
        model,
        AdamW(model.parameters(), lr=args.lr),
        surprise,
        args.steps,
        batch=partial(batch, training, rows, args.seed),
        workers=args.workers,
        schedule=cosine(args.lr, args.steps, warmup=min(100, args.steps // 10)),
        clip=1.0,
        tokens=rows * context,
        every=args.every,
        report=report,
    )
    print(f"Validation loss after {args.steps:,} steps: {measured[-1][1]:.3f} nats a character.")
    if args.plot:
        levels = {f"guessing {how}": level for how, level in guesses.items()}
        picture = loss_picture(losses, measured, levels=levels, unit="nats a character")
        save_picture(picture, args.plot)
        print(f"How the loss fell: {args.plot}")


def introduce(model, vocabulary, text, training, guesses, args):
    """Say what is about to happen."""
    config, rounds = model.config, args.steps / training.batches(args.batch_size)
    parameters = sum(p.size for p in model.parameters())
    print(
        f"text   {len(text):,} characters, {len(vocabulary)} different ones, "
        f"from {args.text or 'Python itself'}"
    )
    print(
        f"model  {config.n_layer} layers, {config.n_head} heads, width {config.n_embd}, context "
        f"{config.block_size}: {parameters:,} parameters, on {args.device}"
    )
    print(
        f"plan   {args.steps:,} steps of {args.batch_size} windows, {rounds:.1f} times through the "
        "text"
    )
    levels = ", ".join(f"{level:.3f} guessing {how}" for how, level in guesses.items())
    print(f"loss   in nats a character: {levels}\n")


def batch(windows, rows, seed, step):
    """The windows of a step, and what comes next in them."""
    epoch, index = divmod(step, windows.batches(rows))
    return windows.batch(rows, seed=seed, epoch=epoch, index=index)


def surprise(model, inputs, targets):
    """The mean surprise at the character that came next, in nats: a scalar tensor."""
    device = model.tokens.weight.device
    return ta.cross_entropy(
        model(ta.tensor(inputs, device=device)), ta.tensor(targets, device=device)
    )


def frequency_surprise(ids):
    """The mean surprise of somebody who knows how frequent each character is and nothing else."""
    counts = Counter(ids.tolist()).values()
    return -sum(count / ids.size * math.log(count / ids.size) for count in counts)


def mean_surprise(model, windows, rows):
    """The same over all windows of a text, as a number."""
    total = 0.0
    with evaluating(model), ta.no_grad():
        for inputs, targets in windows.in_order(rows):
            total += surprise(model, inputs, targets).item() * len(inputs)
    return total / len(windows)


# ---- writing -------------------------------------------------------------------------------------


def write(model, vocabulary, prompt, args):
    """Show a sample, each character as soon as it is chosen."""
    ids = ta.tensor(prompt[None], device=args.device)
    half = (model.config.block_size + 1) // 2
    print("\nThis is how it writes:\n\n" + vocabulary.decode(prompt), end="", flush=True)
    for token in model.stream(ids, args.length, temperature=0.8, seed=args.seed, keep=half):
        print(vocabulary.decode(token.numpy()), end="", flush=True)
    print()


# ---- weights in a file ---------------------------------------------------------------------------


def save(path, model, vocabulary):
    """All that is needed to write with this model again."""
    config = {"gpt": asdict(model.config), "characters": vocabulary.characters}
    save_checkpoint(path, model.state_dict(), config)
    print(f"Weights: {path}")


def load(path):
    """The model and the vocabulary that ``save`` wrote."""
    tensors, config = load_checkpoint(path)
    try:
        model, vocabulary = GPT(GPTConfig(**config["gpt"])), CharVocabulary(config["characters"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'char_gpt: "{path}" holds something else than a GPT and its characters ({error}); '
            "give a file that char_gpt --save wrote"
        ) from error
    model.load_state_dict(tensors)
    return model, vocabulary


if __name__ == "__main__":
    run(main)
