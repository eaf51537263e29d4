// SPDX-License-Identifier: Apache-2.0
//! Which steps each device runs.

use std::time::Duration;

use crate::flavour::Flavour;
use crate::host_memory::Size;
use crate::steps::{self, Format, PlannedStep};

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

/// What a device of a default flavour may need before its first step and after its last one,
/// together.
const BOOT_TIME: Duration = Duration::from_secs(180);

impl Plan {
    /// How long the device may take for all of it.
    pub fn time(&self) -> Duration {
        let steps = self.steps.iter().map(|planned| planned.step.timeout_s);
        steps.map(Duration::from_secs).sum::<Duration>() + BOOT_TIME * self.flavour.slowness()
    }
}

/// For buffers of more than 2 GiB; files beyond 4 GiB are mostly holes.
const KERNEL_TEST_SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 3 * 1024 };

/// The same; the kernel's checks take an eighth of memory, and more for each page.
const DEBUG_KERNEL_TEST_SIZE: Size = Size { memory_mib: 6 * 1024, ..KERNEL_TEST_SIZE };

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
            planned.always
                || planned.format == Format::Libtest
                || filter.is_none_or(|filter| planned.step.name.contains(filter))
        });
        for planned in &mut plan.steps {
            planned.step.timeout_s *= u64::from(plan.flavour.slowness());
        }
    }
    plans
}

fn all(filter: Option<&str>) -> Vec<Plan> {
    let [dmabufload_heaps, dmabufload_load] = steps::dmabufload();
    let kernel = |flavour, size| {
        let mut steps = vec![steps::kernel_test(filter)];
        steps.extend(steps::kernel_selftests());
        steps.push(steps::engine_test(filter));
        Plan { flavour, name: "kernel", size, steps }
    };
    let checked = |mut plan: Plan| {
        plan.steps.insert(0, steps::kernel_checks());
        plan.steps.push(steps::kernel_leaks());
        plan
    };
    vec![
        kernel(Flavour::Patched, KERNEL_TEST_SIZE),
        kernel(Flavour::Newest, KERNEL_TEST_SIZE),
        checked(kernel(Flavour::Debug, DEBUG_KERNEL_TEST_SIZE)),
        checked(Plan {
            flavour: Flavour::Debug,
            name: "hal-as-camera",
            size: DEBUG_KERNEL_TEST_SIZE,
            steps: vec![steps::hal_test_as_camera(filter)],
        }),
        Plan {
            flavour: Flavour::Stock,
            name: "hal-as-camera",
            size: HAL_TEST_SIZE,
            steps: vec![steps::hal_test_as_camera(filter), steps::engine_test(filter)],
        },
        Plan {
            flavour: Flavour::Patched,
            name: "hal-as-camera",
            size: HAL_TEST_SIZE,
            steps: vec![steps::hal_test_as_camera(filter)],
        },
        Plan {
            flavour: Flavour::Patched,
            name: "hal-as-shell",
            size: HAL_TEST_SIZE,
            steps: [
                vec![steps::hal_test_as_shell(filter)],
                steps::hal_test_as_root(filter),
                vec![dmabufload_heaps, dmabufload_load],
            ]
            .concat(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::ValueEnum;
    use vts_init::step::Step;

    use super::*;

    #[test]
    fn names_are_unique_and_the_device_accepts_them() {
        let plans = plans(Flavour::value_variants(), None);
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
        let plans = plans(&Flavour::DEFAULT, Some("it's"));
        let steps: Vec<&PlannedStep> = plans.iter().flat_map(|plan| &plan.steps).collect();
        assert_eq!(steps.len(), 7);
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
    fn slow_flavours_have_more_time() {
        let time = |flavour| plans(&[flavour], Some("selftest udmabuf"))[0].time();
        let (slow, fast) = (time(Flavour::Debug), time(Flavour::Patched));
        assert!(slow >= fast * Flavour::Debug.slowness(), "{slow:?} against {fast:?}");
        assert_eq!(time(Flavour::Newest), fast);
    }

    #[test]
    fn a_debug_kernel_is_checked_whatever_the_filter() {
        let plans = plans(&[Flavour::Debug], Some("no such test"));
        assert!(!plans.is_empty());
        for plan in plans {
            let names: Vec<&str> = plan.steps.iter().map(|p| p.step.name.as_str()).collect();
            assert_eq!(names.first(), Some(&"checks of the kernel"));
            assert_eq!(names.last(), Some(&"no leak in the kernel"));
        }
    }

    #[test]
    fn only_the_default_flavours_run_unasked() {
        let of = |flavour| plans(&[flavour], None).len();
        let default: usize = Flavour::DEFAULT.into_iter().map(of).sum();
        assert_eq!(plans(&Flavour::DEFAULT, None).len(), default);
        assert!(!Flavour::DEFAULT.contains(&Flavour::Debug));
        assert!(of(Flavour::Debug) > 0 && of(Flavour::Newest) > 0);
    }

    #[test]
    fn flavours_are_chosen() {
        let stock = plans(&[Flavour::Stock], None);
        assert_eq!(stock.len(), 1);
        assert!(stock.iter().all(|plan| plan.flavour == Flavour::Stock));
    }
}
