"""What is wrong with the way to a store, in the words of those who set it up: sentences that go on after the server's name."""

from urllib.parse import urlsplit

from cloudedge.network import AUTHORITIES, Obstacle, Trouble, proxy_for, way_to_trust

_PROXY_WANTS_CREDENTIALS = 407

_REMEDIES = {
    Obstacle.NAME: "give the address by a name that it holds, or have one made that holds {host}",
    Obstacle.EXPIRED: "renew it there; if it is valid, set this machine's clock",
    Obstacle.EARLY: "set this machine's clock",
    Obstacle.PLAIN: "correct its address: http:// or another port",
    Obstacle.CLIENT: "cloudedge has none for a store, so have it ask for none",
    Obstacle.HOST: "check the name {host} in its address, or this machine's DNS",
    Obstacle.LOOKUP: "check that this machine's DNS answers and knows {host}",
}


def said_of(trouble: Trouble, url: str) -> str:
    """What is wrong, and what mends it.

    Args:
        trouble: What stands in the way.
        url: What was asked for.
    """
    host, obstacle = urlsplit(url).hostname, trouble.obstacle
    if trouble.status:
        return said_of_proxy(trouble.status, url)
    more = f" ({trouble.said})" if trouble.said else ""
    if obstacle is Obstacle.PROXY_AWAY:
        return f"cannot be asked: {_proxy(url)} does not answer{more}: check that it runs, or name {host} in NO_PROXY."
    remedy = way_to_trust(AUTHORITIES[0]) if obstacle is Obstacle.AUTHORITY else _REMEDIES[obstacle].format(host=host)
    return f"cannot be asked: {obstacle.value}{more}: {remedy}."


def said_of_proxy(status: int, url: str) -> str:
    """What it means that a proxy answers in the store's place."""
    if status == _PROXY_WANTS_CREDENTIALS:
        way_out = "give it credentials there: http://user:password@host:port"
    else:
        way_out = f"have it allow {urlsplit(url).netloc}, or name {urlsplit(url).hostname} in NO_PROXY"
    return f"cannot be asked: {_proxy(url)} answers {status}; {way_out}."


def _proxy(url: str) -> str:
    return str(proxy_for(url) or "a proxy")
