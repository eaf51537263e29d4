// SPDX-License-Identifier: Apache-2.0
//! What is run on the device, by whom, and how its output is read.

use std::time::Duration;

use vts_init::ids::AID_CAMERASERVER;
use vts_init::plan::{Step, PUSH_DIR};

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

/// What the device may need before its first step and after its last one.
const BOOT_TIME: Duration = Duration::from_secs(180);

/// How long the device may take for all of it.
pub fn time(steps: &[PlannedStep]) -> Duration {
    steps.iter().map(|planned| Duration::from_secs(planned.step.timeout_s)).sum::<Duration>()
        + BOOT_TIME
}

/// The steps of a full run; with a filter, the tests whose name contains it.
pub fn plan(filter: Option<&str>) -> Vec<PlannedStep> {
    let mut plan = Vec::new();
    let mut add = |step: Step, format: Format| {
        // A program with tests of its own filters them itself.
        let wanted =
            format == Format::Libtest || filter.is_none_or(|filter| step.name.contains(filter));
        if wanted {
            plan.push(PlannedStep { step, format });
        }
    };

    let kernel_test = test_command("VtsKernelDmaBufCopyFileRangeTest", filter);
    add(
        Step::root("VtsKernelDmaBufCopyFileRangeTest", kernel_test, 900)
            .with_env("DMABUF_TEST_REQUIRE_KERNEL_SUPPORT", "1"),
        Format::Libtest,
    );
    add(Step::root("selftest dmabuf-heap", "exec ./dmabuf-heap", 120), Format::Tap);
    add(Step::root("selftest udmabuf", UDMABUF, 120), Format::Tap);

    let hal_test = test_command("VtsHalDmaBufLoaderTargetTest", filter);
    add(
        Step::shell("VtsHalDmaBufLoaderTargetTest as hal_camera_default", &hal_test, 900)
            .run_as(AID_CAMERASERVER, "u:r:hal_camera_default:s0"),
        Format::Libtest,
    );
    // The shell may not touch what belongs to a vendor.
    add(
        Step::shell("VtsHalDmaBufLoaderTargetTest as shell", &hal_test, 900)
            .with_env("DMABUF_TEST_DIR", PUSH_DIR),
        Format::Libtest,
    );
    add(Step::shell("dmabufload heaps", "exec dmabufload heaps", 60), Format::ExitStatus);
    add(Step::shell("dmabufload load", LOAD, 120), Format::ExitStatus);
    plan
}

/// Runs a test program with its tests one after the other: they watch memory and the page cache.
fn test_command(program: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| format!(" '{}'", filter.replace('\'', "'\\''")));
    format!("exec ./{program} --test-threads=1{}", filter.unwrap_or_default())
}

/// One of its buffers is in 1024 huge pages of 2 MiB each, half of the device's memory.
const UDMABUF: &str = "\
cd /proc/sys/vm
echo 3 > drop_caches
echo 1024 > nr_hugepages
cat nr_hugepages
cd - > /dev/null
./udmabuf
status=$?
echo 0 > /proc/sys/vm/nr_hugepages
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
        let steps: Vec<Step> = plan(None).into_iter().map(|planned| planned.step).collect();
        let names: HashSet<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names.len(), steps.len());
        let text = vts_init::plan::serialize(&steps).unwrap();
        assert_eq!(vts_init::plan::parse(&text).unwrap(), steps);
    }

    #[test]
    fn filter_reaches_the_programs() {
        let steps = plan(Some("it's"));
        assert_eq!(steps.len(), 3);
        for planned in &steps {
            assert!(planned.step.argv[2].ends_with(r" 'it'\''s'"), "{:?}", planned.step.argv);
        }
        let names: Vec<String> =
            plan(Some("udmabuf")).into_iter().map(|planned| planned.step.name).collect();
        assert!(names.contains(&"selftest udmabuf".to_owned()), "{names:?}");
        assert!(!names.contains(&"dmabufload heaps".to_owned()), "{names:?}");
    }
}
