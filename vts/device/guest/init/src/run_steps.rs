// SPDX-License-Identifier: Apache-2.0
//! Runs the steps of the plan one after the other, and reports them.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use vts_init::report::Event;
use vts_init::step::Step;

use crate::launch::{self, Spec};
use crate::message::{Ended, Message, Source};
use crate::supervisor::Supervisor;
use crate::{log, port};

/// How long processes of a step may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Runs every step.
pub fn run(supervisor: &mut Supervisor, steps: &[Step]) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        run_step(supervisor, index, step).with_context(|| format!("step '{}'", step.name))?;
    }
    Ok(())
}

fn run_step(supervisor: &mut Supervisor, index: usize, step: &Step) -> Result<()> {
    let cgroup = format!("step.{index}");
    let spec = Spec {
        uid: step.uid,
        gid: step.gid,
        groups: step.groups.clone(),
        context: Some(step.context.clone()),
        cgroup: cgroup.clone(),
        capabilities: None,
        nice: 0,
        // As that of an app in the foreground.
        oom_score_adjust: 0,
        umask: 0o022,
        cwd: step.cwd.clone(),
        console: false,
    };
    let mut env = launch::base_env();
    env.extend(step.env.clone());
    log::info(&format!("step '{}' begins", step.name));
    port::send(&Event::Start { step: step.name.clone() })?;
    let begin = Instant::now();
    let pid = supervisor.launch(Source::Step(index), &spec, &step.argv, &env)?;

    let deadline = begin + Duration::from_secs(step.timeout_s);
    let mut watch = Watch { index, step: &step.name, pid, ended: None, open_streams: 2 };
    watch.until(supervisor, deadline, |watch| watch.ended.is_some())?;
    let duration = begin.elapsed();
    let timed_out = watch.ended.is_none();

    // After a normal exit, too: processes that it left behind must not disturb the next step.
    launch::kill_cgroup(&cgroup)?;
    watch.until(supervisor, Instant::now() + KILL_LIMIT, Watch::is_over)?;
    let Some(ended) = watch.ended.filter(|_| watch.is_over()) else {
        bail!("cannot be killed");
    };
    remove_cgroup(supervisor, &cgroup)?;
    let denials = supervisor.take_denials()?;
    let how = if timed_out {
        format!("was killed after {} s", step.timeout_s)
    } else {
        ended.to_string()
    };
    log::info(&format!("step '{}' {how}", step.name));
    port::send(&Event::Exit {
        step: step.name.clone(),
        code: ended.code,
        signal: ended.signal,
        timed_out,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        denials,
    })
}

/// A killed process leaves its cgroup a moment after it was reaped.
fn remove_cgroup(supervisor: &mut Supervisor, cgroup: &str) -> Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    while launch::cgroup_is_populated(cgroup)? {
        ensure!(Instant::now() < deadline, "cannot kill what it started");
        supervisor.pump(Instant::now() + Duration::from_millis(5))?;
    }
    launch::remove_cgroup(cgroup)
}

/// What is known of the running step.
struct Watch<'a> {
    index: usize,
    step: &'a str,
    pid: u32,
    ended: Option<Ended>,
    open_streams: usize,
}

impl Watch<'_> {
    fn is_over(&self) -> bool {
        self.ended.is_some() && self.open_streams == 0
    }

    /// Takes messages until `done` or `deadline`.
    fn until(
        &mut self,
        supervisor: &mut Supervisor,
        deadline: Instant,
        done: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        while !done(self) {
            let Some(message) = supervisor.next_step_message(deadline)? else { break };
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Line { source, stream, text } if source == Source::Step(self.index) => {
                port::send(&Event::Line { step: self.step.to_owned(), stream, line: text })
            }
            Message::Closed { source } if source == Source::Step(self.index) => {
                self.open_streams -= 1;
                Ok(())
            }
            Message::Ended { pid, ended } if pid == self.pid => {
                self.ended = Some(ended);
                Ok(())
            }
            // An orphan that init has inherited, or the output of one.
            _ => Ok(()),
        }
    }
}
