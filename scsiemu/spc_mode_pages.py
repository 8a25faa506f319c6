"""The mode pages that every device type has (SPC-5 7.5). Device types add theirs and change defaults and
masks.

What is not changeable here either has no effect in this engine, or waits for a device type that gives it one:
power condition timers, the buffer ratios of parallel buses, RWWP and ATMPE of tape and protection
information.
"""

from __future__ import annotations

from typing import Final

from scsiemu.layout import PageLayout
from scsiemu.mode_pages import ModePage

__all__ = [
    "CONTROL", "CONTROL_EXTENSION", "DISCONNECT_RECONNECT", "INFORMATIONAL_EXCEPTIONS_CONTROL",
    "POWER_CONDITION",
]

DISCONNECT_RECONNECT: Final = ModePage(
    0x02, 0x00, "Disconnect-Reconnect",
    PageLayout(
        "buffer_full_ratio:8 buffer_empty_ratio:8 bus_inactivity_limit:16 disconnect_time_limit:16 "
        "connect_time_limit:16 maximum_burst_size:16 emdp fair_arbitration:3 dimm dtdc:3 _:8 "
        "first_burst_size:16"
    ),
    standard="SPC-5 7.5.12",
)

CONTROL: Final = ModePage(
    0x0A, 0x00, "Control",
    PageLayout(
        "tst*:3 tmf_only* dpicz* d_sense* gltsd*=1 rlec* "
        "queue_algorithm_modifier*:4 nuar qerr*:2 obsolete_1 "
        "vs rac ua_intlck_ctrl*:2 swp* obsolete_2:3 "
        "ato tas* atmpe rwwp _ autoload_mode:3 "
        "obsolete_3:16 busy_timeout_period:16=0xffff extended_self_test_completion_time:16=1"
    ),
    standard="SPC-5 7.5.10",
)

CONTROL_EXTENSION: Final = ModePage(
    0x0A, 0x01, "Control Extension",
    # SCSIP is one: SET TIMESTAMP is performed. IALUAE is one: operators change access states. MAXIMUM SENSE DATA LENGTH
    # zero: as long as it gets.
    PageLayout(
        "_:4 dlc tcmos=1 scsip=1 ialuae=1 _:4 initial_command_priority:4 maximum_sense_data_length:8 _:200"
    ),
    standard="SPC-5 7.5.11",
)

POWER_CONDITION: Final = ModePage(
    0x1A, 0x00, "Power Condition",
    PageLayout(
        "pm_bg_precedence:2 _:5 standby_y _:4 idle_c idle_b idle_a standby_z "
        "idle_a_condition_timer:32 standby_z_condition_timer:32 idle_b_condition_timer:32 "
        "idle_c_condition_timer:32 standby_y_condition_timer:32 _:120 "
        "ccf_idle:2 ccf_standby:2 ccf_stopped:2 _:2"
    ),
    standard="SPC-5 7.5.16",
)

INFORMATIONAL_EXCEPTIONS_CONTROL: Final = ModePage(
    0x1C, 0x00, "Informational Exceptions Control",
    PageLayout(
        "perf _ ebf ewasc* dexcpt* test* ebackerr logerr _:4 mrie*:4=6 interval_timer*:32 report_count*:32"
    ),
    standard="SPC-5 7.5.13",
)
