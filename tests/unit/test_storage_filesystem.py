"""Databases are kept off network disks, by what the system says is mounted."""

from pathlib import Path

import pytest

from arithloc.benchmark.api.errors import NetworkFilesystem
from arithloc.benchmark.storage.filesystem import (
    check_local,
    filesystem_type,
    is_network,
    mounted,
    parse_mount_list,
    parse_mountinfo,
)

LINUX = r"""22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
31 27 0:26 / /run/shared rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64
98 27 0:44 / /home rw,relatime shared:50 - nfs4 server:/export/home rw,vers=4.2,addr=10.0.0.1
99 98 0:45 / /home/local\040disk rw,relatime - xfs /dev/sdb1 rw
101 27 0:46 / /mnt/remote rw,nosuid,nodev - fuse.sshfs someone@host:/data rw,user_id=1000
102 27 8:3 / /mnt/usb rw - fuseblk /dev/sdc1 rw
103 27 0:51 / /data rw - ext4 /dev/sdd1 rw
104 103 0:52 / /data rw - lustre 10.0.0.2@tcp:/fs rw
"""
MAC = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
//someone@nas/share on /Volumes/share (x) (smbfs, nodev, nosuid, mounted by someone)
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/results", "ext4"),
        ("/home/someone/results", "nfs4"),
        ("/homework", "ext4"),
        ("/home/local disk/results", "xfs"),
        ("/mnt/remote", "fuse.sshfs"),
        ("/data/results", "lustre"),
        ("/run/shared/x/y", "tmpfs"),
    ],
)
def test_the_longest_mount_point_counts(folder, kind):
    assert filesystem_type(Path(folder), parse_mountinfo(LINUX)) == kind


def test_the_list_of_macos_is_read():
    mounts = parse_mount_list(MAC)
    assert filesystem_type(Path("/Volumes/share (x)/results"), mounts) == "smbfs"
    assert filesystem_type(Path("/System/Volumes/Data/Users"), mounts) == "apfs"
    assert filesystem_type(Path("/Users"), mounts) == "apfs"


@pytest.mark.parametrize(
    "kind",
    "nfs nfs4 cifs smb3 smbfs afs ceph lustre gpfs beegfs glusterfs orangefs pvfs2 9p virtiofs fuse fuse.sshfs".split(),
)
def test_network_file_systems(kind):
    assert is_network(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "apfs", "tmpfs", "overlay", "fuseblk", ""])
def test_local_file_systems(kind):
    assert not is_network(kind)


def test_a_network_disk_is_refused_by_name_with_ways_out(tmp_path):
    with pytest.raises(NetworkFilesystem, match=r"found nfs4 at .*--db.*PostgreSQL.*bench merge") as caught:
        check_local(tmp_path / "not" / "yet", {"/": "ext4", str(tmp_path.resolve()): "nfs4"})
    assert caught.value.exit_code == 2


def test_a_link_does_not_hide_the_disk_behind_it(tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    mounts = {"/": "ext4", str((tmp_path / "remote").resolve()): "nfs"}
    with pytest.raises(NetworkFilesystem):
        check_local(tmp_path / "link", mounts)
    assert check_local(tmp_path, mounts) == "ext4"


def test_no_answer_is_not_a_refusal(tmp_path):
    assert check_local(tmp_path, {}) == ""


def test_this_machine_tells_what_the_root_is():
    assert mounted().get("/", "unknown")
