// SPDX-License-Identifier: Apache-2.0
//! The steps that tests consist of: what runs on the device, as whom, and how its output is read.

use vts_init::ids::AID_CAMERASERVER;
use vts_init::step::{Step, PUSH_DIR};

use crate::host_tool;

/// How a step's output tells the results of its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As libtest's.
    Libtest,
    /// TAP, as the kernel's own tests print it.
    Tap,
    /// Not at all: the step is one test, and its exit status the outcome.
    ExitStatus,
}

/// A step and how to read it.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// What the device runs.
    pub step: Step,
    /// How its output is read.
    pub format: Format,
    /// Whether a filter leaves it alone.
    pub always: bool,
}

impl PlannedStep {
    /// A step that a filter may leave out.
    pub fn new(step: Step, format: Format) -> Self {
        Self { step, format, always: false }
    }
}

/// The module that tests the HAL.
const HAL_TEST: &str = "VtsHalDmaBufLoaderTargetTest";

/// Selects the tests of what only the virtual device promises.
const VIRTUAL_DEVICE: &str = "DMABUF_TEST_VIRTUAL_DEVICE";

/// The module that tests the kernel.
const KERNEL_TEST: &str = "VtsKernelDmaBufCopyFileRangeTest";

/// The module that tests the engine.
const ENGINE_TEST: &str = "VtsDmaBufEngineTest";

/// Test programs of this workspace.
pub const TESTS: [&str; 3] = [HAL_TEST, KERNEL_TEST, ENGINE_TEST];

/// The test of the kernel, as root.
pub fn kernel_test(filter: Option<&str>) -> PlannedStep {
    let step = Step::root(KERNEL_TEST, test_command(KERNEL_TEST, filter), 900)
        .with_env("DMABUF_TEST_REQUIRE_KERNEL_SUPPORT", "1");
    PlannedStep::new(step, Format::Libtest)
}

/// The kernel's own tests, as root.
pub fn kernel_selftests() -> [PlannedStep; 3] {
    [
        Step::root("selftest dmabuf-heap", "exec ./dmabuf-heap", 120),
        Step::root("selftest udmabuf", UDMABUF, 120),
        Step::root("selftest copy_file_range", COPY_FILE_RANGE, 120),
    ]
    .map(|step| PlannedStep::new(step, Format::Tap))
}

/// What the kernel of flavour `debug` is to do, before all other steps.
pub fn kernel_checks() -> PlannedStep {
    let step = Step::root("checks of the kernel", CHECKS, 60);
    PlannedStep { always: true, ..PlannedStep::new(step, Format::ExitStatus) }
}

/// Memory of the kernel that nothing points to any more, after all other steps of flavour `debug`.
pub fn kernel_leaks() -> PlannedStep {
    let step = Step::root("no leak in the kernel", LEAKS, 120);
    PlannedStep { always: true, ..PlannedStep::new(step, Format::ExitStatus) }
}

/// The test of the engine, as root.
pub fn engine_test(filter: Option<&str>) -> PlannedStep {
    let test = test_command(ENGINE_TEST, filter);
    let command = format!("{}({test})\n{UNMOUNT_MORE}", mount_more());
    PlannedStep::new(Step::root(ENGINE_TEST, command, 600), Format::Libtest)
}

/// Group of `/data/vendor/dmabuf_loader`, which a client that keeps files there has in its .rc
/// file.
pub const AID_VENDOR_DMABUF_LOADER: u32 = 2950;

/// What makes tests of the HAL longer, in the environment of `cargo vts`.
const LENGTHS: [&str; 3] =
    ["DMABUF_TEST_KILLS", "DMABUF_TEST_CLIENTS", "DMABUF_TEST_SHARE_SECONDS"];

/// For the longest of them.
const LONG_TIMEOUT_S: u64 = 2 * 60 * 60;

/// Passes on what makes tests longer.
fn lengthened(mut step: Step) -> Step {
    for name in LENGTHS {
        if let Ok(value) = std::env::var(name) {
            step = step.with_env(name, value);
            step.timeout_s = LONG_TIMEOUT_S;
        }
    }
    step
}

/// The test of the HAL, as a camera provider.
pub fn hal_test_as_camera(filter: Option<&str>) -> PlannedStep {
    let name = format!("{HAL_TEST} as hal_camera_default");
    let step = Step::shell(name, test_command(HAL_TEST, filter), 900)
        .with_env(VIRTUAL_DEVICE, "1")
        .run_as(AID_CAMERASERVER, "u:r:hal_camera_default:s0")
        .with_group(AID_VENDOR_DMABUF_LOADER);
    PlannedStep::new(lengthened(step), Format::Libtest)
}

/// The test of the HAL, as the shell.
pub fn hal_test_as_shell(filter: Option<&str>) -> PlannedStep {
    let name = format!("{HAL_TEST} as shell");
    let step = Step::shell(name, test_command(HAL_TEST, filter), 900)
        .with_env(VIRTUAL_DEVICE, "1")
        // The shell may not touch what belongs to a vendor.
        .with_env("DMABUF_TEST_DIR", PUSH_DIR);
    PlannedStep::new(lengthened(step), Format::Libtest)
}

/// What root alone can do, as whom VTS runs all tests on a phone: the hostile requests, of which
/// those with fences need root, and clients of several uids.
pub fn hal_test_as_root(filter: Option<&str>) -> Vec<PlannedStep> {
    let step = |suffix: &str, filter: &str| {
        let command = test_command(HAL_TEST, Some(filter));
        let step = Step::root(format!("{HAL_TEST} as su{suffix}"), command, 300)
            .with_env("DMABUF_TEST_DIR", PUSH_DIR);
        PlannedStep::new(lengthened(step), Format::Libtest)
    };
    match filter {
        Some(filter) => vec![step("", filter)],
        None => vec![step("", "hostile"), step(", several uids", "uids::")],
    }
}

/// The command-line tool, as the shell: what heaps there are, and a load.
pub fn dmabufload() -> [PlannedStep; 2] {
    [
        Step::shell("dmabufload heaps", "exec dmabufload heaps", 60),
        Step::shell("dmabufload load", LOAD, 120),
    ]
    .map(|step| PlannedStep::new(step, Format::ExitStatus))
}

/// Runs a test program with its tests one after the other: they watch memory and the page cache.
fn test_command(program: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| format!(" '{}'", filter.replace('\'', "'\\''")));
    format!("exec ./{program} --test-threads=1{}", filter.unwrap_or_default())
}

/// The program of this machine that makes the file system on zoned storage.
pub const MAKE_F2FS: &str = "mkfs.f2fs";

/// Mounts an ext4 and a tmpfs, for tests that need more file systems than F2FS, and an F2FS on
/// zoned storage.
fn mount_more() -> String {
    let run = host_tool::RUN;
    format!(
        "\
mkdir -p ext4 tmpfs zoned slow
truncate -s 64M ext4.img
mke2fs -F ext4.img > /dev/null || exit
losetup /dev/block/loop0 ext4.img || exit
mount -t ext4 /dev/block/loop0 ext4 || exit
mount -t tmpfs tmpfs tmpfs || exit
export DMABUF_TEST_MORE_DIRS=$PWD/ext4:$PWD/tmpfs
mount -t configfs configfs /sys/kernel/config || exit
{MAKE_ZONED_DISK}
{run} tools/{MAKE_F2FS} -f -m /dev/nullb1 > mkfs.log || {{ cat mkfs.log; exit 1; }}
mount -t f2fs /dev/nullb1 zoned || exit
export DMABUF_TEST_ZONED_DIR=$PWD/zoned
{MAKE_SLOW_DISK}
mke2fs -F -b 4096 /dev/nullb2 > /dev/null || exit
mount -t ext4 /dev/nullb2 slow || exit
export DMABUF_TEST_SLOW_DIR=$PWD/slow
"
    )
}

/// A disk of 512 MiB in memory: zones of 4 MiB, of which the first 16 need not be written in order.
/// Sizes are in MiB. A device that is made in configfs has the name of its directory.
const MAKE_ZONED_DISK: &str = "\
make_disk() {
    disk=/sys/kernel/config/nullb/$1
    mkdir $disk || exit
    shift
    for setting in blocksize=4096 memory_backed=1 $@ power=1
    do
        echo ${setting#*=} > $disk/${setting%=*} || exit
    done
    number=$(cat /sys/block/${disk##*/}/dev)
    [ -b /dev/${disk##*/} ] || mknod /dev/${disk##*/} b ${number%:*} ${number#*:} || exit
}
make_disk nullb1 size=512 zoned=1 zone_size=4 zone_nr_conv=16";

/// A disk of 128 MiB in memory that answers requests of up to 128 KiB after 5 ms, 64 at a time.
const MAKE_SLOW_DISK: &str =
    "make_disk nullb2 size=128 max_sectors=256 irqmode=2 completion_nsec=5000000";

/// While they are mounted, /data, which holds them, cannot be unmounted.
const UNMOUNT_MORE: &str = "\
status=$?
umount ext4 tmpfs zoned slow
losetup -d /dev/block/loop0
rmdir /sys/kernel/config/nullb/nullb1 /sys/kernel/config/nullb/nullb2
umount /sys/kernel/config
exit $status";

/// One of its buffers is in 1024 huge pages of 2 MiB each, half of the device's memory.
const UDMABUF: &str = "\
cd /proc/sys/vm
pool=$(cat nr_hugepages)
echo 3 > drop_caches
echo 1024 > nr_hugepages
cat nr_hugepages
cd - > /dev/null
./udmabuf
status=$?
echo $pool > /proc/sys/vm/nr_hugepages
exit $status";

/// By default the kernel reports only the first error of a driver's DMA.
const CHECKS: &str = "\
echo 100 > /sys/kernel/debug/dma-api/num_errors || exit
cat /sys/kernel/debug/dma-api/num_errors";

/// kmemleak names only what was found by two scans, and is at least 5 s old.
const LEAKS: &str = "\
leaks=/sys/kernel/debug/kmemleak
for scan in 1 2 3; do
    sleep 6
    echo scan > $leaks || exit
done
[ -z \"$(cat $leaks)\" ] && exit
cat $leaks
exit 1";

/// It makes its file in the working directory, which should be on a file system with direct I/O.
const COPY_FILE_RANGE: &str = "\
program=$PWD/copy_file_range
cd /data/vendor/dmabuf_loader
exec $program";

/// Loads a file whose last block is not whole, and compares what was loaded.
const LOAD: &str = "\
file=blob
head -c 5000001 /dev/urandom > $file || exit
report=$(dmabufload load --json $file) || exit
echo \"$report\"
sum=$(sha256sum < $file)
rm $file
for expected in '\"service\":\"binder\"' ${sum%% *}; do
    case $report in
        *$expected*) ;;
        *) echo \"expected $expected\" >&2; exit 1 ;;
    esac
done";
