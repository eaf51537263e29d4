// SPDX-License-Identifier: Apache-2.0
//! What is run on the device, by whom, and how its output is read.

use std::time::Duration;

use vts_init::ids::AID_CAMERASERVER;
use vts_init::plan::{Step, PUSH_DIR};

use crate::flavour::Flavour;
use crate::host_memory::Size;

/// How a step's output tells what its tests came to.
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
}

/// What one device runs, from its boot to its end.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which device.
    pub flavour: Flavour,
    /// Name of the plan, unique among those of the flavour.
    pub name: &'static str,
    /// What the steps need.
    pub size: Size,
    /// The steps.
    pub steps: Vec<PlannedStep>,
}

/// What a device may need before its first step and after its last one.
const BOOT_TIME: Duration = Duration::from_secs(180);

impl Plan {
    /// How long the device may take for all of it.
    pub fn time(&self) -> Duration {
        let steps = self.steps.iter().map(|planned| planned.step.timeout_s);
        steps.map(Duration::from_secs).sum::<Duration>() + BOOT_TIME
    }
}

/// The module that tests the HAL.
const HAL_TEST: &str = "VtsHalDmaBufLoaderTargetTest";

/// The module that tests the kernel.
const KERNEL_TEST: &str = "VtsKernelDmaBufCopyFileRangeTest";

/// The module that tests the engine.
const ENGINE_TEST: &str = "VtsDmaBufEngineTest";

/// Test programs of this workspace.
pub const TESTS: [&str; 3] = [HAL_TEST, KERNEL_TEST, ENGINE_TEST];

/// Group of `/data/vendor/dmabuf_loader`, which a client that keeps files there has in its .rc file.
pub const AID_VENDOR_DMABUF_LOADER: u32 = 2950;

/// For buffers of more than 2 GiB; files beyond 4 GiB are mostly holes.
const KERNEL_TEST_SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 3 * 1024 };

/// For buffers and files of some hundred MiB.
const HAL_TEST_SIZE: Size = Size { memory_mib: 2 * 1024, data_disk_mib: 3 * 1024 };

/// The plans of a full run, those that take longest first; with a filter, the tests whose name
/// contains it.
pub fn plans(flavours: &[Flavour], filter: Option<&str>) -> Vec<Plan> {
    let mut plans = all(filter);
    plans.retain(|plan| flavours.contains(&plan.flavour));
    for plan in &mut plans {
        // A program with tests of its own filters them itself.
        plan.steps.retain(|planned| {
            planned.format == Format::Libtest
                || filter.is_none_or(|filter| planned.step.name.contains(filter))
        });
    }
    plans
}

fn all(filter: Option<&str>) -> Vec<Plan> {
    let planned = |step: Step, format: Format| PlannedStep { step, format };
    let hal_test = test_command(HAL_TEST, filter);
    let as_camera = || {
        let step = Step::shell(format!("{HAL_TEST} as hal_camera_default"), &hal_test, 900)
            .run_as(AID_CAMERASERVER, "u:r:hal_camera_default:s0")
            .with_group(AID_VENDOR_DMABUF_LOADER);
        planned(step, Format::Libtest)
    };
    let engine_test = || {
        let test = test_command(ENGINE_TEST, filter);
        let command = format!("{MOUNT_MORE}({test})\n{UNMOUNT_MORE}");
        planned(Step::root(ENGINE_TEST, command, 600), Format::Libtest)
    };
    vec![
        Plan {
            flavour: Flavour::Patched,
            name: "kernel",
            size: KERNEL_TEST_SIZE,
            steps: vec![
                planned(
                    Step::root(KERNEL_TEST, test_command(KERNEL_TEST, filter), 900)
                        .with_env("DMABUF_TEST_REQUIRE_KERNEL_SUPPORT", "1"),
                    Format::Libtest,
                ),
                planned(Step::root("selftest dmabuf-heap", "exec ./dmabuf-heap", 120), Format::Tap),
                planned(Step::root("selftest udmabuf", UDMABUF, 120), Format::Tap),
                engine_test(),
            ],
        },
        Plan {
            flavour: Flavour::Stock,
            name: "hal-as-camera",
            size: HAL_TEST_SIZE,
            steps: vec![as_camera(), engine_test()],
        },
        Plan {
            flavour: Flavour::Patched,
            name: "hal-as-camera",
            size: HAL_TEST_SIZE,
            steps: vec![as_camera()],
        },
        Plan {
            flavour: Flavour::Patched,
            name: "hal-as-shell",
            size: HAL_TEST_SIZE,
            steps: vec![
                // The shell may not touch what belongs to a vendor.
                planned(
                    Step::shell(format!("{HAL_TEST} as shell"), &hal_test, 900)
                        .with_env("DMABUF_TEST_DIR", PUSH_DIR),
                    Format::Libtest,
                ),
                planned(
                    Step::shell("dmabufload heaps", "exec dmabufload heaps", 60),
                    Format::ExitStatus,
                ),
                planned(Step::shell("dmabufload load", LOAD, 120), Format::ExitStatus),
            ],
        },
    ]
}

/// Runs a test program with its tests one after the other: they watch memory and the page cache.
fn test_command(program: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| format!(" '{}'", filter.replace('\'', "'\\''")));
    format!("exec ./{program} --test-threads=1{}", filter.unwrap_or_default())
}

/// An ext4 and a tmpfs, for what is to be tried on more file systems than F2FS.
const MOUNT_MORE: &str = "\
mkdir -p ext4 tmpfs
truncate -s 64M ext4.img
mke2fs -F ext4.img > /dev/null || exit
losetup /dev/block/loop0 ext4.img || exit
mount -t ext4 /dev/block/loop0 ext4 || exit
mount -t tmpfs tmpfs tmpfs || exit
export DMABUF_TEST_MORE_DIRS=$PWD/ext4:$PWD/tmpfs
";

/// They lie on /data, which could not be unmounted at the end.
const UNMOUNT_MORE: &str = "\
status=$?
umount ext4 tmpfs
losetup -d /dev/block/loop0
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_device_accepts_them() {
        let plans = plans(&Flavour::ALL, None);
        let names: HashSet<String> =
            plans.iter().map(|plan| format!("{}/{}", plan.flavour, plan.name)).collect();
        assert_eq!(names.len(), plans.len());
        for plan in plans {
            let steps: Vec<Step> = plan.steps.into_iter().map(|planned| planned.step).collect();
            let text = vts_init::plan::serialize(&steps).unwrap();
            assert_eq!(vts_init::plan::parse(&text).unwrap(), steps);
        }
    }

    #[test]
    fn filter_reaches_the_programs() {
        let plans = plans(&Flavour::ALL, Some("it's"));
        let steps: Vec<&PlannedStep> = plans.iter().flat_map(|plan| &plan.steps).collect();
        assert_eq!(steps.len(), 6);
        for planned in steps {
            assert!(planned.step.argv[2].contains(r" 'it'\''s'"), "{:?}", planned.step.argv);
        }
        let names: Vec<String> = super::plans(&[Flavour::Patched], Some("udmabuf"))
            .into_iter()
            .flat_map(|plan| plan.steps)
            .map(|planned| planned.step.name)
            .collect();
        assert!(names.contains(&"selftest udmabuf".to_owned()), "{names:?}");
        assert!(!names.contains(&"dmabufload heaps".to_owned()), "{names:?}");
    }

    #[test]
    fn flavours_are_chosen() {
        let stock = plans(&[Flavour::Stock], None);
        assert_eq!(stock.len(), 1);
        assert!(stock.iter().all(|plan| plan.flavour == Flavour::Stock));
    }
}
