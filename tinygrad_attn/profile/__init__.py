"""profile: where the time and the memory of a program go, by op and by module.

    with ta.profile() as p:
        loss = model(x).mean()
        loss.backward()
    print(p)

Read in this order: ``recording`` (what is noted while it happens), ``saved`` (the bytes that nodes
keep for the way back), ``table`` (how it is added up), ``trace`` (how it is drawn along time).
"""

from .recording import Profile, profile

__all__ = ["Profile", "profile"]
