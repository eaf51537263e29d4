// SPDX-License-Identifier: Apache-2.0
//! Turns the device's report into test results.

use std::time::Duration;

use vts_init::report::Event;

use crate::event_text;
use crate::plan::Plan;
use crate::results::{Suite, Totals, Verdict};
use crate::step_result::{verdict_on, Ending, RunningStep};
use crate::steps::Format;

/// Reads the report, event by event.
#[derive(Debug)]
pub struct Collector<'a> {
    plan: &'a Plan,
    may_be_empty: bool,
    device: Suite,
    suites: Vec<Suite>,
    running: Option<RunningStep>,
    booted: bool,
    done: bool,
}

impl<'a> Collector<'a> {
    /// For a device that runs `plan`; if `filtered`, a program may run no test.
    pub fn new(plan: &'a Plan, filtered: bool) -> Self {
        Self {
            plan,
            may_be_empty: filtered,
            device: Suite::new(format!("{}: device ({})", plan.flavour, plan.name)),
            suites: Vec::new(),
            running: None,
            booted: false,
            done: false,
        }
    }

    /// Takes one line of the report; returns it as text for people.
    pub fn line(&mut self, line: &str) -> String {
        match Event::from_line(line) {
            Ok(event) => {
                let text = event_text::describe(&event);
                self.event(event);
                text
            }
            Err(error) => {
                self.device.problems.push(format!("a line of the report is broken: {error}"));
                format!("? {line}")
            }
        }
    }

    /// Steps that have ended.
    pub fn ended(&self) -> &[Suite] {
        &self.suites
    }

    /// What runs on the device now.
    pub fn current(&self) -> String {
        self.running.as_ref().map(RunningStep::current).unwrap_or_default()
    }

    /// Name of a step's suite: steps of several flavours have the same name.
    fn suite(&self, step: &str) -> String {
        format!("{}: {step}", self.plan.flavour)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Boot { enforcing, denials, .. } => {
                self.booted = true;
                self.device.add("boot", Verdict::Passed);
                self.device.add(
                    "SELinux enforces",
                    if enforcing { Verdict::Passed } else { Verdict::Failed("permissive".into()) },
                );
                self.device.add("no denial during boot", verdict_on(&denials));
            }
            Event::Service { .. } => {}
            Event::ServiceExit { name, code, signal, .. } => {
                let how = event_text::ending(code, signal);
                self.device.problems.push(format!("service {name} {how}"));
            }
            Event::Start { step } => {
                let format = self
                    .plan
                    .steps
                    .iter()
                    .find(|planned| planned.step.name == step)
                    .map_or(Format::ExitStatus, |planned| planned.format);
                let suite = self.suite(&step);
                self.running = Some(RunningStep::new(step, suite, format));
            }
            Event::Line { stream, line, .. } => {
                if let Some(running) = &mut self.running {
                    running.line(stream, line);
                }
            }
            Event::Exit { code, signal, timed_out, duration_ms, denials, .. } => {
                if let Some(running) = self.running.take() {
                    let ending = Ending { code, signal, timed_out };
                    let mut suite = running.finish(ending, &denials);
                    suite.duration = Some(Duration::from_millis(duration_ms));
                    if !self.may_be_empty && suite.totals() == Totals::default() {
                        suite.problems.push("it ran no test".into());
                    }
                    self.suites.push(suite);
                }
            }
            Event::Fatal { message } => {
                self.device.problems.push(format!("the device gave up: {message}"));
            }
            Event::Done => self.done = true,
        }
    }

    /// Ends the run. `console_tail` gives the end of the kernel log, for a device that stopped
    /// early.
    pub fn finish(mut self, console_tail: impl FnOnce() -> String) -> Vec<Suite> {
        if let Some(running) = self.running.take() {
            let ending = Ending { code: None, signal: None, timed_out: false };
            let mut suite = running.finish(ending, &[]);
            suite.problems = vec!["the device stopped while it ran".into()];
            self.suites.push(suite);
        }
        for planned in &self.plan.steps {
            let name = self.suite(&planned.step.name);
            if !self.suites.iter().any(|suite| suite.name == name) {
                let mut suite = Suite::new(name);
                suite.problems.push("it was not run".into());
                self.suites.push(suite);
            }
        }
        if !self.done {
            let when = if self.booted { "before its last step" } else { "before it was up" };
            self.device
                .problems
                .push(format!("the device stopped {when}; its console:\n{}", console_tail()));
        }
        self.suites.insert(0, self.device);
        self.suites
    }
}

#[cfg(test)]
mod tests {
    use vts_init::report::Stream;
    use vts_init::step::Step;

    use super::*;
    use crate::flavour::Flavour;
    use crate::host_memory::Size;
    use crate::steps::PlannedStep;

    fn plan() -> Plan {
        let steps = [("lib", Format::Libtest), ("tap", Format::Tap), ("exit", Format::ExitStatus)]
            .map(|(name, format)| PlannedStep::new(Step::shell(name, "x", 1), format))
            .to_vec();
        let size = Size { memory_mib: 1, data_disk_mib: 1 };
        Plan { flavour: Flavour::Stock, name: "all", size, steps }
    }

    fn boot() -> Event {
        Event::Boot {
            kernel: "6.12".into(),
            enforcing: true,
            context: "u:r:init:s0".into(),
            uptime_ms: 1,
            denials: vec![],
        }
    }

    fn step(name: &str, output: &[&str], code: i32, denials: &[&str]) -> Vec<Event> {
        let step = || name.to_owned();
        let mut events = vec![Event::Start { step: step() }];
        events.extend(output.iter().map(|line| Event::Line {
            step: step(),
            stream: Stream::Stdout,
            line: (*line).to_owned(),
        }));
        events.push(Event::Exit {
            step: step(),
            code: Some(code),
            signal: None,
            timed_out: false,
            duration_ms: 5,
            denials: denials.iter().map(|denial| (*denial).to_owned()).collect(),
        });
        events
    }

    fn collect(events: impl IntoIterator<Item = Event>) -> Vec<Suite> {
        let plan = plan();
        let mut collector = Collector::new(&plan, false);
        for event in events {
            collector.line(&event.to_line().unwrap());
        }
        collector.finish(|| "tail".into())
    }

    const LIB: [&str; 3] = [
        "running 1 test",
        "test a ... ok",
        "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
    ];

    fn good() -> Vec<Event> {
        let mut events = vec![boot()];
        events.extend(step("lib", &LIB, 0, &[]));
        events.extend(step("tap", &["1..1", "ok 1 x"], 0, &[]));
        events.extend(step("exit", &["hello"], 0, &[]));
        events.push(Event::Done);
        events
    }

    #[test]
    fn complete_run() {
        let suites = collect(good());
        assert_eq!(Totals::of(&suites), Totals { passed: 6, failed: 0, skipped: 0 });
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["stock: device (all)", "stock: lib", "stock: tap", "stock: exit"]);
        assert_eq!(suites[1].duration, Some(Duration::from_millis(5)));
    }

    #[test]
    fn every_way_to_fail_counts() {
        let with = |index: usize, events: Vec<Event>| {
            let mut all = good();
            all.splice(index..index, events);
            Totals::of(&collect(all)).failed
        };
        assert_eq!(with(0, vec![]), 0);
        let exit = Event::ServiceExit { name: "s".into(), pid: 1, code: None, signal: Some(6) };
        assert_eq!(with(1, vec![exit]), 1);
        assert_eq!(with(1, vec![Event::Fatal { message: "m".into() }]), 1);
        assert_eq!(with(1, step("other", &[], 1, &[])), 1);
        assert_eq!(with(1, step("other", &[], 0, &["avc:  denied  { read }"])), 1);
        let announced = ["EXPECT-AVC: { read }"];
        assert_eq!(with(1, step("other", &announced, 0, &["avc:  denied  { read }"])), 0);
        assert_eq!(with(1, step("other", &announced, 0, &["avc:  denied  { open }"])), 1);

        let empty = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured";
        for (filtered, failed) in [(false, 4), (true, 3)] {
            let plan = plan();
            let mut collector = Collector::new(&plan, filtered);
            for event in step("lib", &["running 0 tests", empty], 0, &[]) {
                collector.line(&event.to_line().unwrap());
            }
            assert_eq!(Totals::of(&collector.finish(String::new)).failed, failed);
        }

        let plan = Plan { steps: vec![], ..plan() };
        let mut collector = Collector::new(&plan, false);
        collector.line("{\"event\":\"no such\"}");
        collector.line(&Event::Done.to_line().unwrap());
        assert_eq!(Totals::of(&collector.finish(String::new)).failed, 1);
    }

    #[test]
    fn good_output_with_a_bad_exit_status_fails() {
        let mut events = vec![boot()];
        events.extend(step("lib", &LIB, 101, &[]));
        events.extend(step("tap", &["1..1", "ok 1 x"], 1, &[]));
        events.extend(step("exit", &["hello"], 3, &[]));
        events.push(Event::Done);
        let suites = collect(events);
        assert_eq!(Totals::of(&suites).failed, 3);
        let Verdict::Failed(text) = &suites[3].tests[0].verdict else { panic!("{suites:?}") };
        assert!(text.contains("status 3") && text.contains("hello"), "{text}");
    }

    #[test]
    fn cut_run_fails_in_every_missing_step() {
        let mut events = good();
        events.truncate(3);
        let suites = collect(events);
        assert!(suites[0].problems[0].contains("tail"), "{suites:?}");
        assert_eq!(suites[1].problems, ["the device stopped while it ran"]);
        assert_eq!(suites[2].problems, ["it was not run"]);
        assert_eq!(suites[3].problems, ["it was not run"]);
    }
}
