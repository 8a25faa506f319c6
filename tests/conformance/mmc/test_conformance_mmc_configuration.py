"""GET CONFIGURATION: the forms of the request, and what each medium makes current."""

from __future__ import annotations

import pytest
from conformance import clause
from mmc_drive import ALL_PROFILES, Drive, close_track, disc, get_configuration, start_stop, synchronize_cache

from scsiemu import asc


@clause("MMC-6 6.5.2")
def test_get_configuration_all_features(drive: Drive) -> None:
    """RT 00b returns the features that the drive has, current or not, in ascending order, each once."""
    codes = [feature.code for feature in drive.features(0)]

    assert codes == sorted(set(codes))
    assert not all(feature.current for feature in drive.features(0))


@clause("MMC-6 6.5.2")
def test_get_configuration_current_features(drive: Drive) -> None:
    """RT 01b returns exactly those of RT 00b that are current."""
    assert drive.features(1) == [feature for feature in drive.features(0) if feature.current]


@clause("MMC-6 6.5.2")
def test_get_configuration_one_feature(drive: Drive) -> None:
    """RT 10b returns the one feature that was asked for, as RT 00b has it."""
    for feature in drive.features(0):
        assert drive.features(2, feature.code) == [feature]


@clause("MMC-6 6.5.2")
def test_get_configuration_unknown_feature(drive: Drive) -> None:
    """RT 10b for a feature that is not there returns the header alone: DATA LENGTH 4."""
    data = drive.read(get_configuration(2, 0x7FFF))

    assert (len(data), data[:4]) == (8, bytes((0, 0, 0, 4)))


@clause("MMC-6 6.5.2")
def test_get_configuration_reserved_request_type(drive: Drive) -> None:
    """RT 11b is reserved: INVALID FIELD IN CDB."""
    drive.invalid(get_configuration(3))


@clause("MMC-6 6.5.2")
def test_get_configuration_starting_feature(drive: Drive) -> None:
    """STARTING FEATURE NUMBER is the lowest one that is returned."""
    assert drive.features(0, 0x0100) == [feature for feature in drive.features(0) if feature.code >= 0x0100]


@clause("MMC-6 6.5.2")
def test_get_configuration_starting_feature_of_current(drive: Drive) -> None:
    """It bounds RT 01b, too."""
    assert drive.features(1, 0x0003) == [feature for feature in drive.features(1) if feature.code >= 3]


@clause("MMC-6 6.5.2")
def test_get_configuration_allocation_length(drive: Drive) -> None:
    """ALLOCATION LENGTH cuts the data, and DATA LENGTH still tells of all of it."""
    whole = drive.read(get_configuration())
    for length in (0, 1, 4, 8, 12, 100):
        assert drive.read(get_configuration(length=length)) == whole[:length]


@clause("MMC-6 6.5.3")
def test_get_configuration_data_length(drive: Drive) -> None:
    """DATA LENGTH counts what follows it."""
    data = drive.read(get_configuration())

    assert int.from_bytes(data[:4], "big") == len(data) - 4


@clause("MMC-6 5.2.2")
def test_feature_lengths_are_multiples_of_four(drive: Drive) -> None:
    """ADDITIONAL LENGTH is an integral multiple of four."""
    assert [feature for feature in drive.features() if len(feature.data) % 4] == []


@clause("MMC-6 5.2.2")
def test_feature_persistent_is_current(drive: Drive) -> None:
    """A feature that persists is always current."""
    assert [feature for feature in drive.features() if feature.persistent and not feature.current] == []


@clause("MMC-6 6.5.1")
def test_get_configuration_leaves_attention(drive: Drive) -> None:
    """GET CONFIGURATION neither reports nor clears a unit attention."""
    drive.unit.reset()
    drive.read(get_configuration())

    assert drive.unit.attentions()


@disc("none")
@clause("MMC-6 6.5.3")
def test_get_configuration_without_disc(drive: Drive) -> None:
    """Without a disc the current profile is 0, no profile is current, and what needs a medium is not."""
    rows = drive.feature(0).data

    assert drive.profile == 0
    assert not any(rows[at + 2] & 1 for at in range(0, len(rows), 4))
    assert not drive.current(0x10)
    assert not drive.current(0x1E)


@clause("MMC-6 6.5.1")
def test_get_configuration_tray_open(drive: Drive) -> None:
    """It is performed with the tray open, and then has no current profile."""
    drive.good(start_stop(loej=1))

    assert drive.profile == 0


# --- what features say ---------------------------------------------------------------------------------------------


@clause("MMC-6 5.3.1")
def test_profile_list_has_every_profile(drive: Drive) -> None:
    """The profile list has the profiles of pressed, recordable and rewritable CD, DVD and BD."""
    rows = drive.feature(0).data
    listed = [int.from_bytes(rows[at : at + 2], "big") for at in range(0, len(rows), 4)]

    assert len(listed) == len(set(listed))
    assert set(listed) >= ALL_PROFILES


@pytest.mark.parametrize("drive", [
    "cd-data", "dvd-rom", "bd-rom", "cd-r", "cd-rw", "dvd-r", "dvd-ram", "dvd-rw", "dvd-r-dl", "dvd+rw", "dvd+r",
    "dvd+r-dl", "bd-r", "bd-re",
], indirect=True)
@clause("MMC-6 5.3.1")
def test_profile_list_current_profile(drive: Drive) -> None:
    """With a disc exactly one profile of the list is current, and the header names it."""
    rows = drive.feature(0).data
    current = [int.from_bytes(rows[at : at + 2], "big") for at in range(0, len(rows), 4) if rows[at + 2] & 1]

    assert current == [drive.profile]


@clause("MMC-6 5.3.2")
def test_core_feature(drive: Drive) -> None:
    """Core persists, has version 2, names a physical interface, and device busy events are there: DBE one."""
    core = drive.feature(1)

    assert (core.persistent, core.version, len(core.data)) == (True, 2, 8)
    assert core.data[4] & 1


@clause("MMC-6 5.3.2")
def test_core_feature_inquiry_is_validated(drive: Drive) -> None:
    """INQ2 one: INQUIRY validates EVPD and PAGE CODE."""
    assert drive.feature(1).data[4] & 2
    drive.invalid(bytes((0x12, 0, 0x83, 0, 0xFF, 0)))


@clause("MMC-6 5.3.3")
def test_morphing_feature(drive: Drive) -> None:
    """Morphing persists; with OCEVENT one operational changes are told by class 1; no asynchronous events."""
    morphing = drive.feature(2)

    assert (morphing.persistent, morphing.version, morphing.data[0] & 3) == (True, 1, 2)


@clause("MMC-6 5.3.4")
def test_removable_medium_feature(drive: Drive) -> None:
    """A tray that loads, ejects and locks: LOADING MECHANISM 001b, LOAD, EJECT and LOCK one."""
    removable = drive.feature(3)

    assert (removable.persistent, removable.data[0] >> 5) == (True, 1)
    assert removable.data[0] & 0x19 == 0x19


@disc("dvd+rw")
@clause("MMC-6 5.3.5")
def test_write_protect_feature(drive: Drive) -> None:
    """SSWPP and SPWP are one: SWPP of page 1Dh can be set, and persistent protection by SEND DISC STRUCTURE."""
    protect = drive.feature(4)

    assert (protect.current, protect.version) == (True, 2)
    assert protect.data[0] & 3 == 3


@disc("cd-data", "dvd-rom", "bd-rom")
@clause("MMC-6 5.3.6")
def test_random_readable_feature(drive: Drive) -> None:
    """Blocks of 2048 bytes; BLOCKING is that of the medium: 1 on CD, 16 on DVD, 32 on BD."""
    readable = drive.feature(0x10)
    expected = {0x08: 1, 0x09: 1, 0x0A: 1, 0x10: 16, 0x40: 32}[drive.profile]

    assert readable.current
    assert int.from_bytes(readable.data[:4], "big") == 2048
    assert int.from_bytes(readable.data[4:6], "big") == expected


@disc("cd-data", "cd-r")
@clause("MMC-6 5.3.8")
def test_cd_read_feature(drive: Drive) -> None:
    """CD Read is current with CDs, and says that C2 pointers and CD-TEXT can be had."""
    feature = drive.feature(0x1E)

    assert (feature.current, feature.version) == (True, 2)
    assert feature.data[0] & 3 == 3


@disc("dvd-rom", "bd-rom")
@clause("MMC-6 5.3.8")
def test_cd_read_feature_of_others(drive: Drive) -> None:
    """With a disc that is none, neither CD Read nor Multi-Read is current."""
    assert not drive.current(0x1D)
    assert not drive.current(0x1E)


@disc("dvd-rom", "dvd-r", "dvd+rw", "dvd+r-dl")
@clause("MMC-6 5.3.9")
def test_dvd_read_feature(drive: Drive) -> None:
    """DVD Read is current with DVDs, and BD Read is not."""
    assert drive.current(0x1F)
    assert not drive.current(0x40)


@disc("bd-rom", "bd-r", "bd-re")
@clause("MMC-6 5.3")
def test_bd_read_feature(drive: Drive) -> None:
    """BD Read is current with BDs: 28 bytes, the versions of BD-RE, BD-R and BD-ROM that can be read."""
    feature = drive.feature(0x40)

    assert (feature.current, len(feature.data)) == (True, 28)
    assert all(any(feature.data[at : at + 8]) for at in (4, 12, 20))


@disc("dvd+rw", "dvd-ram", "bd-re")
@clause("MMC-6 5.3.10")
def test_random_writable_feature(drive: Drive) -> None:
    """Random Writable is current with media that are overwritten, and has their last address."""
    if 0 in drive.formats():
        assert drive.format(0x26 if drive.profile == 0x1A else 0, drive.formats()[0]).good
    feature = drive.feature(0x20)

    assert (feature.current, feature.version) == (True, 1)
    assert int.from_bytes(feature.data[:4], "big") == drive.capacity() - 1


@disc("cd-r", "cd-rw")
@clause("MMC-6 5.3.23")
def test_cd_track_at_once_feature(drive: Drive) -> None:
    """TAO is current with a blank CD: BUF, test write, CD-RW, and data block types."""
    feature = drive.feature(0x2D)

    assert feature.current
    assert feature.data[0] & 0x46 == 0x46
    assert int.from_bytes(feature.data[2:4], "big") & 1 << 8


@disc("cd-r", "cd-rw")
@clause("MMC-6 5.3.24")
def test_cd_mastering_feature(drive: Drive) -> None:
    """SAO is current with a blank CD, and tells how long a cue sheet may be."""
    feature = drive.feature(0x2E)

    assert feature.current
    assert feature.data[0] & 0x20
    assert int.from_bytes(feature.data[1:4], "big") >= 8 * 100


@disc("cd-data")
@clause("MMC-6 5.3.23")
def test_writing_features_of_pressed_discs(drive: Drive) -> None:
    """With a pressed disc nothing that writes is current."""
    if drive.profile != 0x08:
        drive.unit.not_supported("a CD-ROM is asked for")
    writing = {0x20, 0x21, 0x23, 0x25, 0x26, 0x2A, 0x2B, 0x2D, 0x2E, 0x2F, 0x37, 0x3B, 0x41}

    assert {feature.code for feature in drive.features(1)} & writing == set()


@disc("cd-r", "dvd-r", "bd-r")
@clause("MMC-6 5.3.11")
def test_writing_features_of_finalised_discs(drive: Drive) -> None:
    """What writes sequentially is not current once the disc is finalised."""
    code = {0x09: 0x2D, 0x11: 0x2F, 0x41: 0x41}[drive.profile]
    assert drive.current(code)
    drive.written(0, bytes(32 * 2048))
    drive.good(synchronize_cache())
    drive.good(close_track(6 if drive.profile == 0x41 else 2))
    feature = {each.code: each for each in drive.features()}[code]

    assert drive.disc().status == 2
    assert not feature.current


@disc("cd-r", "cd-rw", "dvd-r", "dvd-rw", "dvd-r-dl", "bd-r")
@clause("MMC-6 5.3.11")
def test_incremental_streaming_writable_feature(drive: Drive) -> None:
    """Incremental Streaming Writable is current with what is recorded sequentially: BUF one, data block type 8."""
    feature = drive.feature(0x21)

    assert feature.current
    assert feature.data[0] & 1
    assert feature.data[2] & 1


@disc("cd-rw")
@clause("MMC-6 5.3")
def test_cd_rw_media_write_feature(drive: Drive) -> None:
    """CD-RW Media Write Support names the sub-types of disc that can be written."""
    feature = drive.feature(0x37)

    assert feature.current
    assert feature.data[1]


@disc("dvd-r", "dvd-rw", "dvd-r-dl")
@clause("MMC-6 5.3.25")
def test_dvd_r_write_feature(drive: Drive) -> None:
    """DVD-R/-RW Write is current with them: BUF, dual layer, test write, DVD-RW."""
    feature = drive.feature(0x2F)

    assert (feature.current, feature.version) == (True, 2)
    assert feature.data[0] & 0x4E == 0x4E


@disc("dvd+rw", "dvd+r", "dvd+r-dl")
@clause("MMC-6 5.3.20")
def test_dvd_plus_features(drive: Drive) -> None:
    """DVD+RW, DVD+R and DVD+R DL are current with their own profile alone, and WRITE is one."""
    own = {0x1A: 0x2A, 0x1B: 0x2B, 0x2B: 0x3B}[drive.profile]

    assert [code for code in (0x2A, 0x2B, 0x3B) if drive.current(code)] == [own]
    assert drive.feature(own).data[0] & 1


@disc("dvd-rw")
@clause("MMC-6 5.3.16")
def test_dvd_rw_features_change_with_format(drive: Drive) -> None:
    """A DVD-RW that is formatted becomes profile 13h: Restricted Overwrite is current, sequential writing is not."""
    assert not drive.current(0x26)
    assert drive.format(0x10, drive.formats()[0x10], parameter=16).good

    assert drive.profile == 0x13
    assert drive.current(0x26)
    assert not drive.current(0x2F)


@disc("bd-r", "bd-re")
@clause("MMC-6 5.3")
def test_bd_write_feature(drive: Drive) -> None:
    """BD Write is current with them: 20 bytes, the versions that can be written."""
    feature = drive.feature(0x41)

    assert (feature.current, len(feature.data)) == (True, 20)


@disc("dvd+rw", "dvd-ram", "bd-re", "bd-r")
@clause("MMC-6 5.3.13")
def test_formattable_feature(drive: Drive) -> None:
    """Formattable is current with media that FORMAT UNIT takes."""
    assert drive.current(0x23)


@disc("cd-audio")
@clause("MMC-6 5.3")
def test_audio_play_feature(drive: Drive) -> None:
    """CD External Audio Play: SCAN, separate mute and volume, and how many levels there are."""
    feature = drive.feature(0x103)

    assert feature.current
    assert feature.data[0] & 7 == 7
    assert int.from_bytes(feature.data[2:4], "big") == 256


@clause("MMC-6 5.3")
def test_power_management_feature(drive: Drive) -> None:
    """Power Management persists and has no additional data."""
    feature = drive.feature(0x100)

    assert (feature.persistent, feature.data) == (True, b"")


@clause("MMC-6 5.3")
def test_timeout_feature(drive: Drive) -> None:
    """Timeout persists: page 1Dh is there."""
    assert drive.feature(0x105).persistent
    assert drive.page(0x1D)[0] & 0x3F == 0x1D


@clause("MMC-6 5.3")
def test_real_time_streaming_feature(drive: Drive) -> None:
    """Real-Time Streaming tells that SET CD SPEED, SET STREAMING, page 2Ah's speeds and buffer capacity are there."""
    feature = drive.feature(0x107)

    assert feature.current
    assert feature.data[0] & 0x1F == 0x1F


@clause("MMC-6 5.3")
def test_drive_serial_number_feature(drive: Drive) -> None:
    """The serial number is ASCII, that of VPD page 80h, padded with spaces."""
    page = drive.read(bytes((0x12, 1, 0x80, 0, 0xFF, 0)))
    serial = drive.feature(0x108).data

    assert serial.rstrip(b" ") == page[4 : 4 + page[3]].strip(b" ")


@clause("MMC-6 5.3")
def test_firmware_information_feature(drive: Drive) -> None:
    """The date of the firmware is digits: century, year, month, day, hour, minute, second."""
    data = drive.feature(0x10C).data

    assert len(data) == 16
    assert data[:14].isdigit()
    assert 1 <= int(data[4:6]) <= 12


@disc("cd-data")
@clause("MMC-6 6.5.1")
def test_get_configuration_reserved_by_another(drive: Drive) -> None:
    """GET CONFIGURATION is performed although another nexus holds a reservation."""
    other = drive.another()
    registered = bytes(8) + (1).to_bytes(8, "big") + bytes(8)
    assert other.execute(bytes((0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0)), registered).good
    held = (1).to_bytes(8, "big") + bytes(16)
    assert other.execute(bytes((0x5F, 1, 3, 0, 0, 0, 0, 0, 24, 0)), held).good
    try:
        drive.read(get_configuration())
        assert drive.execute(bytes((0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0)), data_in=12).status == 0x18
    finally:
        assert other.execute(bytes((0x5F, 3, 0, 0, 0, 0, 0, 0, 24, 0)), held).good


@disc("cd-data")
@clause("MMC-6 5.3.1")
def test_profile_changes_with_the_tray(drive: Drive) -> None:
    """Another nexus that has seen the tray go out and in finds the profile again, after a unit attention."""
    other = drive.another()
    before = drive.profile
    drive.good(start_stop(loej=1))
    assert other.profile == 0
    drive.good(start_stop(loej=1, start=1))
    drive.settle()

    assert other.unit.attentions() == [asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED]
    assert (drive.profile, other.profile) == (before, before)
