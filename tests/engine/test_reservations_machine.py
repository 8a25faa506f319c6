"""Reservations against an independent model: three nexuses, any service action, logging out and in, resets.

The model is written from the clauses in another shape than the engine: a table of who is registered with what, one
reservation, and for each service action its text as a few lines over them.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reservation_bench import CONFLICT, GOOD, TYPES, Bench, StateDictionary, asc

from scsiemu.sam import Status, TaskManagementFunction

NUMBERS = st.integers(0, 2)
NEW_KEYS = st.integers(0, 3)        # few, so that they meet
KEYS = st.sampled_from([None] * 6 + [0, 1, 2])      # None: the key that the nexus is registered with
READY = st.sampled_from([True, True, True, False])
TYPE = st.sampled_from([*TYPES, *TYPES, 0, 2])
CHECK = Status.CHECK_CONDITION
ACCESS = {1: "w", 3: "rw", 5: "w", 6: "rw", 7: "w", 8: "rw"}     # what each type keeps out


class Model:
    """Who is registered, who holds what, who must be told what."""

    def __init__(self):
        self.key = {}               # nexus number -> key
        self.type = 0
        self.owner = None           # number; of no meaning for types 7 and 8
        self.generation = 0
        self.spc2 = None
        self.aptpl = False
        self.pending = {0: [], 1: [], 2: []}

    def holds(self, who):
        return bool(self.type) and (who in self.key if self.type > 6 else self.owner == who)

    def tell(self, whom, code, but):
        for who in whom:
            if who != but and code not in self.pending[who]:
                self.pending[who].append(code)

    def drop(self, gone, by):
        """Registrations go away; the reservation may with them."""
        owner_gone = self.type and self.type < 7 and self.owner in gone
        for who in gone:
            self.key.pop(who, None)
        if owner_gone or not self.key:
            self.type, self.owner = 0, None
        return owner_gone

    def allowed(self, who, letter):
        if self.spc2 is not None:
            return self.spc2 == who
        if not self.type or self.holds(who) or letter not in ACCESS[self.type]:
            return True
        return self.type >= 5 and who in self.key

    def out(self, action, who, key, new, type, aptpl):
        """Status of a service action, its effects done."""
        if self.spc2 is not None:
            return CONFLICT
        known = self.key.get(who)
        if action in ("REGISTER", "REGISTER AND IGNORE EXISTING KEY"):
            if action == "REGISTER" and key != (known or 0):
                return CONFLICT
            if known is None and not new:
                return GOOD
            self.aptpl = aptpl
            self.generation += 1
            if new:
                self.key[who] = new
            else:
                kind = self.type
                if self.drop({who}, who) and kind in (5, 6):
                    self.tell(self.key, asc.RESERVATIONS_RELEASED, who)
            return GOOD
        if known is None or known != key:
            return CONFLICT
        return getattr(self, action.split()[0].lower())(who, new, type)

    def reserve(self, who, new, type):
        if self.type and not self.holds(who):
            return CONFLICT
        if type not in TYPES:
            return CHECK
        if self.type:
            return GOOD if type == self.type else CONFLICT
        self.type, self.owner = type, who
        return GOOD

    def release(self, who, new, type):
        if self.holds(who):
            if type != self.type:
                return CHECK
            if type >= 5:
                self.tell(self.key, asc.RESERVATIONS_RELEASED, who)
            self.type, self.owner = 0, None
        return GOOD

    def clear(self, who, new, type):
        self.tell(self.key, asc.RESERVATIONS_PREEMPTED, who)
        self.drop(set(self.key), who)
        self.generation += 1
        return GOOD

    def preempt(self, who, new, type):
        everybody = self.type > 6
        if self.type and not everybody and not new:
            return CHECK
        takes = (everybody and not new) or (bool(self.type) and not everybody and self.key[self.owner] == new)
        gone = set(self.key) if everybody and not new else {other for other in self.key if self.key[other] == new}
        if not gone:
            return CONFLICT
        if takes:
            if type not in TYPES:
                return CHECK
            gone -= {who}
        self.tell(gone, asc.REGISTRATIONS_PREEMPTED, who)
        old = self.type
        self.drop(gone, who)
        if takes:
            if type != old:
                self.tell(self.key, asc.RESERVATIONS_RELEASED, who)
            self.type, self.owner = type, who
        self.generation += 1
        return GOOD

    def move(self, who, to, key, new, unreg, aptpl):
        if self.spc2 is not None or self.key.get(who) != key:
            return CONFLICT
        if not self.type:
            return CHECK
        if self.type > 6 or self.owner != who:
            return CONFLICT
        if not new or to == who:
            return CHECK
        self.key[to] = new
        self.owner = to
        if unreg:
            del self.key[who]
        self.aptpl = aptpl
        self.generation += 1
        return GOOD

    def spc2_command(self, who, reserve):
        if self.spc2 is not None:
            if self.spc2 == who:
                self.spc2 = who if reserve else None
            return CONFLICT if reserve and self.spc2 != who else GOOD
        if self.key:
            return GOOD if self.holds(who) or (self.type >= 5 and who in self.key) else CONFLICT
        if reserve:
            self.spc2 = who
        return GOOD


class Reservations(RuleBasedStateMachine):
    """The target must agree with the model after every step."""

    def __init__(self):
        super().__init__()
        self.store = StateDictionary()
        self.model = Model()
        self.boot()

    def boot(self):
        self.bench = Bench(state=self.store)
        self.peers = [self.bench.initiator(number + 1) for number in range(3)]
        self.model.pending = {0: [], 1: [], 2: []}

    def make_way(self, who):
        """End an SPC-2 reservation, register the nexus: without them most service actions only conflict."""
        model = self.model
        if model.spc2 is not None:
            self.spc2(model.spc2, False, False)
        if who not in model.key:
            self.service_action(who, 0, 1 + who % 2, 0, True, "REGISTER", False)

    def told(self, who):
        """Unit attentions come first: take them, they must be those of the model."""
        assert self.peers[who].attentions() == self.model.pending[who]
        self.model.pending[who] = []

    @rule(
        who=NUMBERS, key=KEYS, new=NEW_KEYS, type=TYPE, aptpl=st.booleans(), ready=READY,
        action=st.sampled_from([
            "REGISTER", "REGISTER AND IGNORE EXISTING KEY", "RESERVE", "RELEASE", "CLEAR", "PREEMPT",
            "PREEMPT", "PREEMPT AND ABORT",
        ]),
    )
    def service_action(self, who, key, new, type, aptpl, action, ready):
        """Any service action with any keys."""
        if ready:
            self.make_way(who)
        self.told(who)
        key = self.model.key.get(who, 0) if key is None else key
        expected = self.model.out(action, who, key, new, type, aptpl)

        assert self.peers[who].out(action, key, new, type=type, flags=aptpl).status == expected

    @rule(who=NUMBERS, victim=NUMBERS, type=st.sampled_from(TYPES), abort=st.booleans(), zero=READY)
    def preempt(self, who, victim, type, abort, zero):
        """PREEMPT with a key that somebody has, or with zero where that means everybody."""
        self.make_way(who)
        key = 0 if not zero and self.model.type > 6 else self.model.key.get(victim, 1)
        action = "PREEMPT AND ABORT" if abort else "PREEMPT"
        self.service_action(who, None, key, type, True, action, False)

    @precondition(lambda self: not self.model.type)
    @rule(who=NUMBERS, new=st.integers(1, 3), type=st.sampled_from(TYPES))
    def take(self, who, new, type):
        """The usual way to a reservation that others have registered for, so that there often is one."""
        self.make_way(who)
        for other in (who, (who + 1) % 3, (who + 2) % 3):
            self.service_action(other, 0, new ^ (other == 2), type, True, "REGISTER AND IGNORE EXISTING KEY", False)
        self.service_action(who, None, 0, type, True, "RESERVE", False)

    @rule(who=NUMBERS, to=NUMBERS, key=KEYS, new=NEW_KEYS, unreg=st.booleans(), aptpl=st.booleans(), ready=READY)
    def move(self, who, to, key, new, unreg, aptpl, ready):
        """REGISTER AND MOVE to any of the three, by the holder if `ready`."""
        if ready and self.model.owner is not None:
            who = self.model.owner
        self.told(who)
        key = self.model.key.get(who, 0) if key is None else key
        expected = self.model.move(who, to, key, new, unreg, aptpl)
        flags = unreg << 1 | aptpl

        assert self.peers[who].move(key, new, self.peers[to].transport_id, flags=flags).status == expected

    @rule(who=NUMBERS, reserve=st.booleans(), ten=st.booleans())
    def spc2(self, who, reserve, ten):
        """RESERVE and RELEASE."""
        self.told(who)
        expected = self.model.spc2_command(who, reserve)
        name = f"{'RESERVE' if reserve else 'RELEASE'}({10 if ten else 6})"

        assert self.peers[who].command(name).status == expected

    @rule(who=NUMBERS, what=st.sampled_from([
        "nexus loss", "nexus loss", "power loss", TaskManagementFunction.LOGICAL_UNIT_RESET,
        TaskManagementFunction.TARGET_WARM_RESET, TaskManagementFunction.TARGET_COLD_RESET,
    ]))
    def disturb(self, who, what):
        """Nexus loss ends an SPC-2 reservation of that nexus and its attentions; a reset ends any; a power loss ends
        registrations, too, but for APTPL, and sets PRGENERATION to zero. Registrations live through all else."""
        model = self.model
        if what == "power loss":
            model.spc2, model.generation = None, 0
            if not model.aptpl:
                model.key, model.type, model.owner = {}, 0, None
            self.boot()
        elif what == "nexus loss":
            self.peers[who].initiator.close()
            model.spc2 = None if model.spc2 == who else model.spc2
            model.pending[who] = []
            self.peers[who] = self.bench.initiator(who + 1)
        else:
            for number in range(3):
                self.told(number)
            self.bench.target.manage(what, self.peers[who].nexus)
            for peer in self.peers:
                peer.attentions()
            model.spc2 = None

    @invariant()
    def same_state(self):
        """Keys, reservation, generation and access as the model has them."""
        model = self.model
        for who, peer in enumerate(self.peers):
            pending = peer.nexus.units[0].attentions
            held, pending[:] = list(pending), []
            assert held == model.pending[who]
            for letter, name in (("r", "READ(6)"), ("w", "WRITE(6)")):
                expected = GOOD if model.allowed(who, letter) else CONFLICT
                assert peer.command(name).status == expected
            pending[:] = held
        peer = self.peers[0]
        held, peer.nexus.units[0].attentions[:] = list(peer.nexus.units[0].attentions), []
        if model.spc2 is None:
            rows = {row[4]: row for row in peer.full_status()}
            assert len(rows) == len(model.key)
            for who, key in model.key.items():
                row = rows[self.peers[who].transport_id]
                assert row[:3] == (key, int(model.holds(who)), model.type if model.holds(who) else 0)
            key = 0 if model.type > 6 or not model.type else model.key[model.owner]
            assert peer.reservation() == ((key, model.type) if model.type else None)
            assert peer.generation() == model.generation
            assert sorted(peer.keys()) == sorted(model.key.values())
        else:
            assert peer.command("PERSISTENT RESERVE IN (READ KEYS)").status == CONFLICT
        peer.nexus.units[0].attentions[:] = held


class TestReservations(Reservations.TestCase):
    """Runs the state machine."""

    settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
