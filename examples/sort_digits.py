"""A GPT learns to sort ten digits, in half a minute, and is tested on sequences it has never seen.

    python examples/sort_digits.py
    python examples/sort_digits.py --plot attention.png

The model reads ten random digits and writes them in order. Look at the picture: to write the next
digit, some heads look for the digits of that value, others count how many of them are written
already.
"""

import time
from functools import partial

from _common import Flags, run

import tinygrad_attn as ta
from tinygrad_attn.data import SortTask
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.optim import AdamW, linear
from tinygrad_attn.train import train
from tinygrad_attn.viz import attention_picture, save_picture

TESTS = 2000


def main(command_line):
    """Train, test on ``TESTS`` sequences, show some, and draw what one made the model look at."""
    flags = Flags(
        "A GPT learns to sort ten digits.",
        steps=2000,
        batch_size=64,
        lr=3e-3,
        quick={"steps": 50, "batch_size": 32},
    )
    args = flags.read(command_line)

    task = SortTask(length=10)
    config = GPTConfig(vocab_size=10, block_size=task.context, n_layer=2, n_head=4, n_embd=48)
    model = GPT(config).to(args.device)
    optimizer = AdamW(model.parameters(), lr=args.lr)
    print(
        f"A GPT of {sum(p.size for p in model.parameters()):,} parameters learns to sort 10 digits."
    )

    start = time.perf_counter()
    train(
        model,
        optimizer,
        surprise,
        args.steps,
        batch=partial(batch, task, args),
        workers=args.workers,
        schedule=linear(args.lr, max(args.steps, 1), warmup=min(100, args.steps // 10)),
        clip=1.0,
        tokens=args.batch_size * task.context,
    )
    print(f"Trained for {time.perf_counter() - start:.1f} s.")

    questions, answers = task.test(TESTS)
    written = sort(model, questions)
    right = (written == answers).all(axis=1)
    score = f"{right.sum():,} of {TESTS:,} sequences that it never trained on"
    print(f"\n{score} are sorted without a mistake: {right.mean():.2%}\n")
    mistakes = [i for i in (~right).nonzero()[0] if i > 2]
    for i in [0, 1, 2, *mistakes[:2]]:
        verdict = "right" if right[i] else "wrong"
        print(f"  {digits(questions[i])}  →  {digits(written[i])}  {verdict}")

    if args.plot:
        save_picture(picture(model, questions[0], written[0]), args.plot)
        print(f"\nWhat it looked at while it wrote the first of these: {args.plot}")


def batch(task, args, step):
    """What the model reads in a step, and what it should write."""
    return task.batch(args.batch_size, seed=args.seed, index=step)


def surprise(model, inputs, targets):
    """The mean surprise at the sorted digits, in nats: a scalar tensor."""
    device = model.tokens.weight.device
    logits = model(ta.tensor(inputs, device=device))
    return ta.cross_entropy(logits, ta.tensor(targets, device=device))


def sort(model, questions):
    """What the model writes after each question, the likeliest digit each time."""
    ids = ta.tensor(questions, device=model.tokens.weight.device)
    length = ids.shape[1]
    return model.generate(ids, length, temperature=0).numpy()[:, length:]


def picture(model, question, written):
    """The attention of every head, a row for each digit that was written."""
    length = len(question)
    read = [*question, *written[:-1]]  # the last digit is only written
    weights = model.attention(ta.tensor([read], device=model.tokens.weight.device)).numpy()[:, 0]
    return attention_picture(
        weights[:, :, length - 1 :],
        keys=list(map(str, read)),
        queries=list(map(str, written)),
        divide=length,
        title=f"Sorting {digits(question)}: what each head looks at, to write the next digit",
        key_label="digits read        digits written",
        query_label="next digit",
    )


def digits(row):
    """A row of digits as text."""
    return " ".join(map(str, row))


if __name__ == "__main__":
    run(main)
