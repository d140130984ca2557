"""Two coordinators and a model of ZooKeeper: every order of what may happen around a fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import pytest

from objectql_coordinator.election import (
    Claim,
    Claimed,
    Connected,
    Effect,
    Election,
    Enrol,
    Enrolled,
    Event,
    Lead,
    Lost,
    Observe,
    Observed,
    Resigned,
    StepDown,
    Suspended,
    Withdraw,
    step,
)

NEW = Election()


@dataclass(frozen=True)
class Peer:
    """One coordinator: what it knows, what it has yet to hear and to do."""

    state: Election = NEW
    session: int = 0
    is_linked: bool = False
    inbox: tuple[Event, ...] = ()
    todo: tuple[Effect, ...] = ()


@dataclass(frozen=True)
class World:
    """`nodes`: (candidate, session) in order. `led`: every (epoch, peer) that ever led."""

    peers: tuple[Peer, ...] = (Peer(), Peer())
    alive: frozenset[int] = frozenset()
    nodes: tuple[tuple[str, int], ...] = ()
    made: int = 0
    epoch: int = 0
    owner: str = ""
    faults_left: int = 1
    led: frozenset[tuple[int, int]] = frozenset()

    def with_peer(self, number: int, peer: Peer) -> World:
        peers = tuple(peer if n == number else p for n, p in enumerate(self.peers))
        return replace(self, peers=peers)


def connect(world: World, number: int) -> World:
    """The link comes back: with the old session where it lives, else with a new one."""
    peer = world.peers[number]
    if peer.session in world.alive:
        heard: tuple[Event, ...] = (Connected(peer.session),)
        session = peer.session
    else:
        session = max(world.alive | {p.session for p in world.peers}) + 1
        heard = (Lost(), Connected(session))
        world = replace(world, alive=world.alive | {session})
    linked = replace(peer, session=session, is_linked=True, inbox=peer.inbox + heard)
    return world.with_peer(number, linked)


def cut(world: World, number: int) -> World:
    peer = world.peers[number]
    broken = replace(peer, is_linked=False, inbox=(*peer.inbox, Suspended()))
    return world.with_peer(number, broken)


def expire(world: World, number: int) -> World:
    """The session ends on the server, which takes its nodes away; the peer has not heard of it."""
    session = world.peers[number].session
    nodes = tuple(node for node in world.nodes if node[1] != session)
    return replace(world, alive=world.alive - {session}, nodes=nodes)


def resign(world: World, number: int) -> World:
    """An operator asks the peer to step down."""
    peer = world.peers[number]
    asked = replace(peer, inbox=(*peer.inbox, Resigned(peer.state.session)))
    return world.with_peer(number, asked)


def hear(world: World, number: int) -> World:
    peer = world.peers[number]
    state, effects = step(peer.state, peer.inbox[0])
    led = world.led | {(e.epoch, number) for e in effects if isinstance(e, Lead)}
    todo = peer.todo + tuple(e for e in effects if not isinstance(e, Lead | StepDown))
    heard = replace(peer, state=state, inbox=peer.inbox[1:], todo=todo)
    return replace(world.with_peer(number, heard), led=led)


def work(world: World, number: int, *, answer_arrives: bool = True) -> World:
    """Perform the next effect; one that cannot reach the server is forgotten."""
    peer = world.peers[number]
    effect, peer = peer.todo[0], replace(peer, todo=peer.todo[1:])
    world = world.with_peer(number, peer)
    asked = getattr(effect, "session", 0)
    if not peer.is_linked or asked not in world.alive or asked != peer.session:
        return world
    answer: Event | None = None
    match effect:
        case Enrol(session):
            own = [name for name, owner in world.nodes if owner == session]
            if not own:
                own = [f"c{world.made}"]
                nodes = (*world.nodes, (own[0], session))
                world = replace(world, nodes=nodes, made=world.made + 1)
            answer = Enrolled(session, own[0])
        case Observe(session):
            names = tuple(name for name, _ in world.nodes)
            answer = Observed(session, names, world.epoch, world.owner)
        case Claim(session, candidate, epoch):
            if epoch == world.epoch and candidate in {name for name, _ in world.nodes}:
                world = replace(world, epoch=epoch + 1, owner=candidate)
                answer = Claimed(session, epoch + 1)
        case Withdraw(_, candidate):
            nodes = tuple(node for node in world.nodes if node[0] != candidate)
            world = replace(world, nodes=nodes)
        case _:
            raise AssertionError(effect)
    if answer is not None and answer_arrives:
        peer = replace(peer, inbox=(*peer.inbox, answer))
    return world.with_peer(number, peer)


def next_worlds(world: World) -> Iterator[World]:
    for number, peer in enumerate(world.peers):
        if peer.inbox:
            yield hear(world, number)
        if peer.todo:
            yield work(world, number)
        if not peer.is_linked:
            yield connect(world, number)
        if world.faults_left:
            poorer = replace(world, faults_left=world.faults_left - 1)
            if peer.state.leading is not None:
                yield resign(poorer, number)
            if peer.is_linked:
                yield cut(poorer, number)
                if peer.todo:  # done, but the answer is lost with the connection
                    yield cut(work(poorer, number, answer_arrives=False), number)
            if peer.session in world.alive:
                yield expire(poorer, number)
                if peer.is_linked:  # the usual way: the link breaks, then the session ends
                    yield expire(cut(poorer, number), number)


def look(world: World, number: int) -> World:
    """The regular look, which repairs what failed operations left undone."""
    peer = world.peers[number]
    if peer.state.link != "connected":
        return world
    session = peer.state.session
    effect = Observe(session) if peer.state.candidate else Enrol(session)
    return world.with_peer(number, replace(peer, todo=(*peer.todo, effect)))


def settled(world: World) -> World:
    """What becomes of `world` when nothing goes wrong any more."""
    for _ in range(4):
        for number in range(len(world.peers)):
            peer = world.peers[number]
            if peer.is_linked and peer.session not in world.alive:
                world = cut(world, number)  # the server ends the connection of a dead session
            if not world.peers[number].is_linked:
                world = connect(world, number)
            world = look(world, number)
            while world.peers[number].inbox or world.peers[number].todo:
                move = hear if world.peers[number].inbox else work
                world = move(world, number)
    return world


@pytest.fixture(scope="module")
def worlds() -> set[World]:
    """Every world that one fault at any moment can lead to, and many that ten can."""
    seen: set[World] = {World()}
    todo = list(seen)
    while todo:
        for world in next_worlds(todo.pop()):
            if world not in seen:
                seen.add(world)
                todo.append(world)
    assert len(seen) > 20_000  # guards against an exploration that silently explores nothing
    walk = Random(7)
    for _ in range(100):
        world = World(faults_left=10)
        for _ in range(200):
            moves = list(next_worlds(world))
            harmless = [after for after in moves if after.faults_left == world.faults_left]
            if not moves:
                break
            world = walk.choice(harmless if harmless and walk.random() < 0.9 else moves)
            seen.add(world)
    return seen


def test_an_epoch_has_one_leader_and_only_its_owner_passes_the_fence(worlds: set[World]) -> None:
    assert any(len(world.led) >= 4 for world in worlds)
    for world in worlds:
        by_epoch: dict[int, int] = {}
        for epoch, number in world.led:
            assert by_epoch.setdefault(epoch, number) == number, world
        fenced_in = [
            peer
            for peer in world.peers
            if peer.state.leading is not None and peer.state.leading == world.epoch
        ]
        assert len(fenced_in) <= 1, world
        assert all(peer.state.candidate == world.owner for peer in fenced_in), world
        for peer in world.peers:
            assert peer.state.leading is None or peer.state.link == "connected", world


def test_whatever_happened_one_leader_emerges_that_all_agree_on(worlds: set[World]) -> None:
    some = sorted(worlds, key=repr)[::20]
    for world in some:
        end = settled(world)
        leading = [peer for peer in end.peers if peer.state.leading is not None]
        assert [peer.state.leading for peer in leading] == [end.epoch], world
        assert {peer.state.leader for peer in end.peers} == {end.owner}, world


def test_suspension_ends_leadership_at_once_and_the_same_session_may_resume_it() -> None:
    state = Election(link="connected", session=7, candidate="a", leading=3, epoch=3, leader="a")
    suspended, effects = step(state, Suspended())
    assert effects == (StepDown(),)
    back, effects = step(suspended, Connected(7))
    assert back.leading is None
    assert effects == (Observe(7),)
    again, effects = step(back, Observed(7, ("a", "b"), 3, "a"))
    assert (again.leading, effects) == (3, (Lead(3),))


def test_own_node_that_is_gone_after_a_reconnect_ends_the_candidacy() -> None:
    state = Election(link="connected", session=7, candidate="a", epoch=3)
    after, effects = step(state, Observed(7, ("b",), 4, "b"))
    assert (after.candidate, after.leading) == ("", None)
    assert effects == (Enrol(7),)


def test_a_leader_that_resigns_stands_behind_the_others() -> None:
    state = Election(link="connected", session=7, candidate="a", leading=3, epoch=3, leader="a")
    resigned, effects = step(state, Resigned(7))
    assert (resigned.leading, resigned.candidate) == (None, "")
    assert effects == (StepDown(), Withdraw(7, "a"), Enrol(7))
    assert step(as_follower(state), Resigned(7)) == (as_follower(state), ())


def as_follower(state: Election) -> Election:
    """What it knows, without leading."""
    return Election(
        link=state.link, session=state.session, candidate=state.candidate, epoch=state.epoch
    )
