"""The inventory: every tool of sg3_utils 1.46, what is run on a disk's node, and what its output must say.

`ROWS` run one after the other in one machine of two disks (8 MiB, 512-byte blocks, serials SN-ONE and SN-TWO, /dev/sg0
and /dev/sg1, with a state folder); a row is the command, its exit code, and regular expressions that must all be found
in its output. `ELSEWHERE` names the test that a tool has of its own. `NOT_FOR_DISKS` are those for other devices, with
what they must say here.
"""

from __future__ import annotations

from scsiemu._value import value

__all__ = ["ELSEWHERE", "NOT_FOR_DISKS", "NOT_RUN", "ROWS", "Row"]


@value
class Row:
    """A tool run once.

    Args:
        command: words for a shell; $A and $B are the nodes, $T a folder.
        wanted: regular expressions.
        code: exit code.
    """

    command: str
    wanted: tuple[str, ...]
    code: int = 0


_VPD = {
    "sv": (r"Unit serial number \[sn\]", r"Block limits extension \(SBC\) \[ble\]"),
    "sn": (r"Unit serial number: SN-ONE",),
    "di": (r"vendor id: SCSIEMU", r"vendor specific: VIRTUAL DISK +SN-ONE", r"naa\.3[0-9A-F]{15}",
           r"Relative target port: 0x1", r"Target port group: 0x1", r"iqn\.2026-11\.example\.scsiemu:target"),
    "ei": (r"HEADSUP=1 ORDSUP=1 SIMPSUP=1", r"LUICLR=1", r"RTD_SUP=1", r"sense data length=252"),
    "mpp": (r"Policy page code: 0x8\n +MLUS=0,  Policy: shared", r"Policy page code: 0xa,  subpage code: 0x1\n"),
    "sp": (r"Relative port=1", r"iqn\.2026-11\.example\.scsiemu:target"),
    "tpc": (r"Extended copy\(LID1\)", r"block -> block \[0x2\]", r"Identification Descriptor \[0xe4\]"),
    "bl": (r"Maximum compare and write length: 255 blocks", r"Maximum unmap LBA count: -1 \[unbounded\]"),
    "bdc": (r"Non-rotating medium",),
    "lbpv": (r"\(LBPU\): 1", r"\(LBPWS\): 1", r"\(LBPWS10\): 1", r"Provisioning type: 2 \(thin"),
    "ref": (r"User data segment size: 0",),
    "ble": (r"Maximum number of streams: \d+",),
}

ROWS = (
    Row("sg_inq $A", (r"PDT=0", r"\[SPC-[45]\]|SPC-[56]", r"CmdQue=1", r"Vendor identification: SCSIEMU",
                      r"Product identification: VIRTUAL DISK", r"Unit serial number: SN-ONE")),
    Row("sg_inq $B", (r"Unit serial number: SN-TWO",)),
    Row("sg_inq -e -p 0x80 $A", (r"Unit serial number: SN-ONE",)),
    Row("sg_inq --export $A", (r"SCSI_TYPE=disk", r"SCSI_VENDOR=SCSIEMU", r"SCSI_TPGS=3")),
    *(Row(f"sg_vpd -p {page} $A", wanted) for page, wanted in _VPD.items()),
    Row("sg_vpd -a $A", (r"Unit serial number VPD page", r"Block limits extension VPD page")),
    Row("sg_readcap $A", (r"Last LBA=16383 \(0x3fff\), Number of logical blocks=16384", r"length=512 bytes",
                          r"Device size: 8388608 bytes")),
    Row("sg_readcap -l $A", (r"lbpme=1, lbprz=1", r"prot_en=0", r"Last LBA=16383")),
    Row("scsi_readcap $A", (r"Number of logical blocks=16384",)),
    Row("sg_luns $A", (r"which imples 2 lun entries", r"0000000000000000\n +0001000000000000")),
    Row("sg_luns -s 1 $A", (r"list length = 0",)),
    Row("sg_opcodes $A", (r" 00 +6 .*Test Unit Ready", r" 48 +1f +10 .*Sanitize, exit failure mode",
                          r" 5f +5 +10 .*preempt and abort", r" 89 +16 .*Compare and write", r" af +12 .*Verify")),
    Row("sg_opcodes -o 0x28 $A", (r"Opcode=0x28", r"Usage data: 28 .. ff ff ff ff .. ff ff ",)),
    Row("sg_opcodes -t $A", (r"Task Management Functions", r"Abort task\n", r"Logical unit reset\n")),
    Row("sg_modes -a $A", (r"Block descriptor length=8", r"00 00 40 00 00 00 02 00", r"Caching, page_control: current",
                           r"Informational exceptions")),
    Row("sg_modes -p 8 -c 1 $A", (r"Caching, page_control: changeable\n 00 +[08]8 12 04 ",)),
    Row("sg_wr_mode -p 8 -c 8,12,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0 -m 0,0,4 $A && sdparm --get=WCE $A; sdparm -q "
        "--set=WCE $A; sdparm --get=WCE $A", (r"WCE +0 +\[cha: y, def: +1.*\n", r"WCE +1 +\[cha: y, def: +1")),
    Row("sg_logs -a $A", (r"0x19 +General Statistics", r"Start-stop cycle counter page", r"Non-medium error count = 0",
                          r"Informational Exceptions page", r"Total uncorrected errors = 0")),
    Row("sg_logs -p 0xf -m 64 $A", (r"Application client page",)),
    Row("sg_logs -t $A", (r"Current temperature = <not available>",)),
    Row("scsi_temperature $A", (r"Current temperature",)),
    Row("sg_requests $A", (r"Sense key: No Sense",)),
    Row("sg_requests --desc $A", (r"Descriptor format, current; Sense key: No Sense",)),
    Row("sg_turs -n 100 -t $A", (r"Completed 100 Test Unit Ready commands with 0 errors", r"operations/sec")),
    Row("scsi_ready $A", (r"ready",)),
    Row("scsi_mandat $A", (r"total number of bad errors: 0",)),
    Row("sg_start --stop $A; sg_turs -v $A", (r"Not Ready", r"initializing command required"), 2),
    Row("scsi_stop $A; scsi_start $A; sg_turs -v $A && sg_logs -p 0xe $A", (r"Accumulated start-stop cycles = \d+",)),
    Row("sg_start -v --start $A && sg_turs -n 2 -t $A", (r"cdb: \[1b 00 00 00 01 00\]", r"with 0 errors")),
    Row("sg_sync -v $A && sg_sync -v --16 --lba=1 --count=7 $A && echo both", (
        r"cdb: \[35( 00){9}\]", r"cdb: \[91 00( 00){7} 01 00 00 00 07 00 00\]", r"^both$")),
    Row("sg_verify -v --lba=0 --count=16384 $A", (r"Verified 16384 .* blocks from lba 0 .*\n +without error",)),
    Row("sg_verify --lba=16384 --count=1 $A", (r"LBA out of range",), 22),
    Row("head -c 8192 /dev/urandom > $T/data && sg_dd if=$T/data of=$A bs=512 && sg_dd if=$A of=- bs=512 count=16 | "
        "cmp - $T/data && echo same", (r"16\+0 records out", r"^same$")),
    Row("sg_verify -v --lba=0 --count=16 --bytchk=8192 --in=$T/data $A",
        (r"Verified 16 .* blocks from lba 0 .*\n +without error",)),
    Row("sg_verify --lba=1 --count=16 --bytchk=8192 --in=$T/data $A", (r"Miscompare|miscompare",), 14),
    Row("sg_read if=$A bs=512 count=16384 bpt=128", (r"16384\+0 records in, SCSI READ commands issued: 128",)),
    Row("sgp_dd if=$A of=$T/sgp bs=512 count=16 thr=4 bpt=2 && cmp $T/sgp $T/data && echo same", (r"^same$",)),
    Row("sgm_dd if=$T/data of=$B bs=512 && sgm_dd if=$B of=$A bs=512 count=16 bpt=4 && sgm_dd if=$A of=$T/sgm bs=512 "
        "count=16 && cmp $T/sgm $T/data && echo same", (r"(16\+0 records out(.|\n)*){3}", r"^same$")),
    Row("sg_dd if=$A of=$B bs=512 bpt=16 count=64 dio=1 iflag=dpo oflag=fua,coe && sg_dd if=$B of=- bs=512 count=16 | "
        "cmp - $T/data && echo same", (r"64\+0 records out", r"^same$")),
    Row("sg_write_same --lba=100 --num=20 --in=$T/data --xferlen=512 $A && sg_dd if=$A skip=119 count=1 bs=512 of=- | "
        "cmp -n 512 - $T/data && echo same", (r"^same$",)),
    Row("sg_write_same --lba=100 --num=20 --unmap --in=/dev/zero --xferlen=512 $A; sg_get_lba_status --lba=100 $A",
        (r"LBA: 0x0000000000000064 +blocks: +\d+ +deallocated",)),
    Row("sg_unmap --force --lba=0 --num=8 $A; sg_get_lba_status -m 64 --lba=0 $A",
        (r"LBA: 0x0000000000000000 +blocks: +8 +deallocated", r"LBA: 0x0000000000000008 +blocks: +8 +mapped")),
    Row("sg_write_verify --lba=0 --num=16 --in=$T/data $A && sg_dd if=$A of=- bs=512 count=16 | cmp - $T/data && echo "
        "same", (r"^same$",)),
    Row("sg_write_x --or --lba=32 --num=16 --in=$T/data $A && sg_verify --lba=32 --count=16 --bytchk=8192 --in=$T/data "
        "$A && sg_write_x --normal --lba=64 --num=16 --in=$T/data $A && sg_write_x --atomic=0 --lba=80 --num=16 "
        "--in=$T/data $A && sg_verify --lba=80 --count=16 --bytchk=8192 --in=$T/data $A && echo same", (r"^same$",)),
    Row("(head -c 512 $T/data; head -c 512 /dev/zero | tr '\\0' x) > $T/caw; sg_compare_and_write --in=$T/caw --lba=0 "
        "--num=1 $A && sg_dd if=$A of=- bs=512 count=1 | tail -c 8", (r"x{8}",)),
    Row("sg_compare_and_write --in=$T/caw --lba=0 --num=1 $A", (r"iscompare",), 14),
    Row("sg_rtpg -d $A", (r"group id : 0x1 ", r"0x00 \(active/optimized\)", r"Relative target port ids:\n +0x01")),
    Row("sg_stpg --tp=1 --optimized $A && sg_stpg --active $A", (r"New target port groups", r"access state : 0x01")),
    Row("sg_rtpg -d $A; sg_stpg --tp=1 -o $A; sg_requests $A; sg_rtpg -d $A",
        (r"0x01 \(active/non optimized\)", r"0x00 \(active/optimized\)")),
    Row("sg_stpg --tp=9 --active $A", (r"Illegal request",)),
    Row("printf rack-7 | sg_ident --set $A && sg_ident --ascii $A && sg_ident --clear $A && sg_ident $A",
        (r"rack-7",)),
    Row("sg_referrals $A", (r"first lba 0, last lba 16383",)),
    Row("sg_timestamp --milliseconds=1234567890 $A && sg_timestamp $A && sg_timestamp --origin $A",
        (r"^12345678\d\d$", r"initialized by SET TIMESTAMP")),
    Row("sg_rbuf --size=1m $A", (r"buffer capacity=65536", r"Read 1 MiB")),
    Row("sg_test_rwbuf -s 4096 $A", (r"Success",)),
    Row("sg_write_buffer --mode=data --length=64 --in=$T/data $A && sg_raw -o $T/rb -r 64 $A 3c 02 00 00 00 00 00 00 "
        "40 00 && cmp -n 64 $T/rb $T/data && echo same", (r"^same$",)),
    # 1.46 asks for no byte unless told how many, and prints none.
    Row("sg_read_buffer -m desc -v $A", (r"Read buffer\(10\) cdb: \[3c 03 ",)),
    Row("sg_raw -r 36 $A 12 00 00 00 24 00", (r"SCSI Status: Good", r"53 43 53 49 45 4d 55 20")),
    Row("sg_raw $A ee 0 0 0 0 0", (r"Check Condition", r"Invalid command operation code"), 9),
    Row("sg_senddiag -t $A; sg_senddiag -l $A", (r"self-test returned GOOD", r"0x00 +Supported diagnostic pages")),
    Row("sg_reassign --address=5 $A && sg_reassign -g $A", (r"Elements in grown defect list: 1$",)),
    Row("sginfo -a $A", (r"Serial Number 'SN-ONE'", r"Write Cache Enabled +1", r"Control mode page \(0xa\)")),
    Row("sginfo -d $A",
        (r"0 entries \(0 bytes\) in primary", r"1 entries \(4 bytes\) in grown", r"logical block addresses")),
    Row("sginfo -l", (r"/dev/sg0 \[scsi0 ch=0 id=0 lun=0\]", r"/dev/sg1 \[scsi0 ch=0 id=0 lun=1\]")),
    Row("sdparm --all $A", (r"WCE +1 +\[cha: y", r"Control extension mode page", r"D_SENSE +0 +\[cha: y")),
    Row("sdparm -i -p di $A; sdparm -i -p bl $A",
        (r"naa\.3[0-9A-F]{15}", r"Maximum unmap block descriptor count: +4095")),
    Row("sdparm --command=capacity $A; sdparm --command=ready $A; sdparm --command=sync $A",
        (r"blocks: 16384", r"block_length: 512", r"Ready")),
    Row("sg_copy_results -p $A", (r"Maximum segment descriptor count: 64", r"Segment descriptor 0x02")),
    Row("sg_bg_ctl --ctl=1 $A && sg_stream_ctl --open $A", (r"ssigned stream id: \d+",)),
    Row("sg_read_long --lba=3 --xfer_len=512 --out=$T/long $A && sg_dd if=$A skip=3 of=- bs=512 count=1 | cmp - "
        "$T/long && echo same", (r"^same$",)),
    Row("sg_write_long --lba=4 --wr_uncor --xfer_len=0 $A; sg_read if=$A bs=512 skip=4 count=1 bpt=1",
        (r"[Mm]edium",), 3),
    Row("sg_reset -d $A; sg_turs -v $A", (r"Bus device reset function occurred",), 6),
    Row("sg_reset -t $A; sg_turs -v $A; sg_turs -v $B", (r"SCSI bus reset occurred(.|\n)*SCSI bus reset occurred",), 6),
    Row("sg_reset -b $A; sg_turs -v $A; sg_turs $B", (r"SCSI bus reset occurred",), 6),
    Row("sg_reset -H $A; sg_turs -v $A; sg_turs $B", (r"I_T nexus loss occurred",), 6),
    Row("sg_scan", (r"/dev/sg0: scsi0 channel=0 id=0 lun=0 \[em\]\n/dev/sg1: scsi0 channel=0 id=0 lun=1",)),
    Row("sg_scan -i", (r"SCSIEMU +VIRTUAL DISK +0001",)),
    Row("sg_map -i -x", (r"/dev/sg0 +0 0 0 0 +0 +SCSIEMU", r"/dev/sg1 +0 0 0 1 +0 +SCSIEMU")),
    Row("sg_map26 $A", (r"does not match any other SCSI device",), 1),
    Row("sg_decode_sense 70 00 05 00 00 00 00 0a 00 00 00 00 20 00 00 00 00 00", (r"Invalid command operation code",)),
)

ELSEWHERE = {
    "sg_persist": "test_sg3_persist_two_initiators", "sg_xcopy": "test_sg3_xcopy", "sg_sanitize": "test_sg3_sanitize",
    "sg_format": "test_sg3_format", "sg_prevent": "test_sg3_removable",
}

# Tools for other devices: what a disk makes them say, with their exit codes.
NOT_FOR_DISKS = (
    Row("sg_read_block_limits $A", (r"Invalid opcode",), 9),
    Row("sg_get_config $A", (r"Invalid opcode",), 9),
    Row("sg_read_attr $A", (r"Invalid opcode",), 9),
    Row("sg_rep_zones $A", (r"Invalid opcode",), 9),
    Row("sg_reset_wp --all $A", (r"Invalid opcode",), 9),
    Row("sg_zone --open --all $A", (r"Invalid opcode",), 9),
    Row("sg_rep_pip $A", (r"Illegal request",), 5),
    Row("sg_get_elem_status $A", (r"Illegal request|not supported",), 5),
    Row("sg_prevent $A", (r"Invalid opcode",), 9),
    Row("sg_seek --lba=5 $A", (r"nvalid opcode",), 9),
    Row("sg_rdac $A", (r"Illegal request",), 5),
    Row("sg_emc_trespass $A", (r"failed",), 5),
    Row("sg_ses $A", (r"disk device \(not an enclosure\)",)),
    Row("sg_ses_microcode $A", (r"Illegal request",), 5),
    Row("sg_safte $A", (r"Illegal request",), 5),
    Row("sg_sat_identify $A", (r"Invalid opcode",), 9),
    Row("sg_sat_read_gplog $A", (r"ATA PASS-THROUGH \(16\) not supported",), 9),
    Row("sg_sat_phy_event $A", (r"ATA PASS-THROUGH \(16\) not supported",), 9),
    Row("sg_sat_set_features --feature=2 $A", (r"ATA PASS-THROUGH \(16\) not supported",), 9),
    Row("sg_rmsn $A", (r"Read Media Serial Number: Illegal request, Invalid opcode",), 9),
)

NOT_RUN = {
    "scsi_logging_level": "sets the kernel's logging", "scsi_satl": "tests SATLs, made of tools above",
    "rescan-scsi-bus.sh": "tells the kernel to look for devices",
}
