"""Volume tags: SEND VOLUME TAG and REQUEST VOLUME ELEMENT ADDRESS (SMC-3 6.14, 6.11).

A translation is kept for the I_T nexus that sent it and is evaluated when it is asked for, so that it never tells of
an element that has been emptied since. Each element is reported once.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from devtypes.vmc import layouts
from devtypes.vmc.inventory import Inventory, Volume, VolumeTag
from devtypes.vmc.status import ElementStatus, encode_report
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["VolumeTags"]

_LIST_LENGTH: Final = 40
_TEMPLATE: Final = 32
_WILDCARDS: Final = "*?"

_PRIMARY: Final = ("primary",)
_ALTERNATE: Final = ("alternate",)
_BOTH: Final = ("primary", "alternate")

# SEND ACTION CODE (SMC-3 table 51). Translate: tags that are searched, whether sequence numbers count.
_TRANSLATE: Final[dict[int, tuple[tuple[str, ...], bool]]] = {
    0x00: (_BOTH, True), 0x01: (_PRIMARY, True), 0x02: (_ALTERNATE, True),
    0x05: (_BOTH, False), 0x06: (_PRIMARY, False), 0x07: (_ALTERNATE, False),
}
_ASSERT: Final = {0x08: "primary", 0x09: "alternate"}       # where the tag is not defined now
_REPLACE: Final = {0x0A: "primary", 0x0B: "alternate"}      # whatever it is now
_UNDEFINE: Final = {0x0C: "primary", 0x0D: "alternate"}


class _Sent:
    """What a SEND VOLUME TAG asked, and how far its results were reported."""

    def __init__(self, action: int, start: int, element_type: int, *, only: bool = False) -> None:
        self.action = action
        self.start = start
        self.element_type = element_type
        self.only = only                                    # the element itself, whose tag was changed
        self.reported = -1
        self.template = ""
        self.sequences = range(0x10000)


class VolumeTags(ElementStatus):
    """Finding volumes by their tags, and giving them others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sent: dict[Nexus, _Sent] = {}

    def nexus_lost(self, state: NexusState) -> None:
        self._sent.pop(state.nexus, None)
        super().nexus_lost(state)

    def reset(self, kind: str) -> None:
        self._sent.clear()
        super().reset(kind)

    @operation(
        0xB6, "SEND VOLUME TAG", layouts.SEND_VOLUME_TAG, data=DataDirection.OUT,
        parameter_list="parameter_list_length", parameter_list_limit=_LIST_LENGTH, exclusive=True,
        recommended_timeout=60, standard="SMC-3 6.14",
    )
    def send_volume_tag(self, command: Command, cdb: CdbFields) -> Result:
        """Begin a translation, or assert, replace or undefine a tag."""
        action = cdb.send_action_code
        if action not in _TRANSLATE and action not in _ASSERT | _REPLACE | _UNDEFINE:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="send_action_code")
        self.selected(cdb.element_type_code, 0)             # a type that there is
        sent = command.parameter_list
        if len(sent) not in (0, _LIST_LENGTH) or cdb.parameter_list_length not in (0, _LIST_LENGTH):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if action in _TRANSLATE:
            if sent:
                self._sent[command.nexus] = self._translation(cdb, sent)
            return Completion()
        return self._change_tag(command, cdb, action, sent)

    def _translation(self, cdb: CdbFields, sent: bytes) -> _Sent:
        _check_reserved(sent)
        found = _Sent(cdb.send_action_code, cdb.element_address, cdb.element_type_code)
        found.template = _identifier(sent, wildcards=True)
        if _TRANSLATE[found.action][1]:
            low, high = int.from_bytes(sent[34:36], "big"), int.from_bytes(sent[38:40], "big")
            if high < low:
                raise _invalid(38)
            found.sequences = range(low, high + 1)
        return found

    def _change_tag(self, command: Command, cdb: CdbFields, action: int, sent: bytes) -> Steps:
        address = cdb.element_address
        kind = self.config.type_of(address)
        if kind is None or cdb.element_type_code not in (0, kind):
            raise CheckCondition(asc.INVALID_ELEMENT_ADDRESS, field="element_address")
        if command.nexus_state.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)
        yield from self.wait_for_turn()
        volume = self.inventory.get(address)
        if volume is None:
            raise CheckCondition(asc.MEDIUM_SOURCE_ELEMENT_EMPTY)
        which = (_ASSERT | _REPLACE | _UNDEFINE)[action]
        tag = None
        if action not in _UNDEFINE:
            if action in _ASSERT and getattr(volume, which) is not None:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="send_action_code")
            tag = self._new_tag(address, which, sent)
        name = volume.name

        def retag(inventory: Inventory) -> Inventory:
            there = inventory.get(address)
            assert there is not None
            assert there.name == name
            # A dictionary, since the name of the field is not known before.
            values: dict[str, Any] = {which: tag}
            changed: Volume = dataclasses.replace(there, **values)
            return inventory.with_volume(address, changed)

        yield from self.change(retag)
        self._sent[command.nexus] = _Sent(action, address, kind, only=True)
        return Completion()

    def _new_tag(self, address: int, which: str, sent: bytes) -> VolumeTag:
        """The tag of a parameter list; another volume must not have it (SMC-3 4.5)."""
        if not sent:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        _check_reserved(sent)
        identifier = _identifier(sent, wildcards=False)
        if not identifier:
            raise CheckCondition(asc.VOLUME_IDENTIFIER_MISSING)
        sequence = int.from_bytes(sent[34:36], "big")
        if int.from_bytes(sent[38:40], "big") != sequence:
            raise _invalid(38)
        tag = VolumeTag(identifier, sequence)
        others = (volume for where, volume in self.inventory.volumes.items() if where != address)
        if any(getattr(volume, which) == tag for volume in others):
            raise CheckCondition(asc.DUPLICATE_VOLUME_IDENTIFIER)
        return tag

    @operation(
        0xB5, "REQUEST VOLUME ELEMENT ADDRESS", layouts.REQUEST_VOLUME_ELEMENT_ADDRESS, data=DataDirection.IN,
        recommended_timeout=60, standard="SMC-3 6.11",
    )
    def request_volume_element_address(self, command: Command, cdb: CdbFields) -> Completion:
        """The elements that meet the last SEND VOLUME TAG of this nexus and were not reported yet."""
        sent = self._sent.get(command.nexus)
        if sent is None:
            raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
        start = max(cdb.element_address, sent.reported + 1)
        addresses = [
            address for address in self.selected(cdb.element_type_code, start) if self._meets(address, sent)
        ][: cdb.number_of_elements]
        descriptors = self.describe(command, addresses, voltag=bool(cdb.voltag), dvcid=False)
        report = encode_report(descriptors, cdb.allocation_length, action=sent.action)
        room = cdb.allocation_length - 8
        before = None
        for found in descriptors:
            # What encode_report transferred: a page header, too, where the type changes.
            room -= len(found.data) + (8 if found.type != before else 0)
            if room < 0:
                break
            sent.reported = found.address
            before = found.type
        return Completion(report)

    def _meets(self, address: int, sent: _Sent) -> bool:
        if sent.only:
            return address == sent.start
        if address < sent.start or sent.element_type not in (0, self.config.type_of(address)):
            return False
        volume = self.inventory.get(address)
        if volume is None:
            return False
        tags = (getattr(volume, name) for name in _TRANSLATE[sent.action][0])
        return any(
            tag is not None and tag.sequence in sent.sequences and _matches(sent.template, tag.identifier)
            for tag in tags
        )


def _identifier(sent: bytes, *, wildcards: bool) -> str:
    """The template of a parameter list, up to its first null, without blanks at its end."""
    raw = sent[:_TEMPLATE].partition(b"\0")[0].rstrip(b" ")
    for at, code in enumerate(raw):
        if not 0x20 <= code <= 0x7E or (not wildcards and chr(code) in _WILDCARDS):
            if wildcards:
                raise _invalid(at)
            raise CheckCondition(asc.VOLUME_IDENTIFIER_INVALID)
    return raw.decode("ascii")


def _matches(template: str, identifier: str) -> bool:
    """Whether an identifier meets a template with `*` (any characters) and `?` (any one), in time of their product:
    going back to the last `*` alone is enough."""
    at = back = 0
    star = -1
    here = 0
    while here < len(identifier):
        if at < len(template) and template[at] == "*":
            star, back = at, here
            at += 1
        elif at < len(template) and template[at] in ("?", identifier[here]):
            at += 1
            here += 1
        elif star >= 0:
            back += 1
            at, here = star + 1, back
        else:
            return False
    return all(letter == "*" for letter in template[at:])


def _check_reserved(sent: bytes) -> None:
    for at in (32, 33, 36, 37):
        if sent[at]:
            raise _invalid(at)


def _invalid(byte: int) -> CheckCondition:
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
