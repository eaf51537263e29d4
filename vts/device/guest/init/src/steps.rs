// SPDX-License-Identifier: Apache-2.0
//! The test role: push files, run the steps of the plan, report.

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use vts_init::file_contexts::{FileContexts, Kind};
use vts_init::ids::AID_SHELL;
use vts_init::plan::{self, Step};
use vts_init::report::Event;

use crate::launch::{self, Spec};
use crate::reaper::Ended;
use crate::supervisor::{Message, Source, Supervisor};
use crate::{log, mounts, port, selinux};

const PUSH_DISK: &str = "/dev/block/vdc";
const PUSH_MOUNT: &str = "/mnt/push";

/// How long what a step started may take to die of SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Mounts the push image, copies its files and reads its plan; None if the machine has no such disk.
pub fn load(contexts: &FileContexts) -> Result<Option<Vec<Step>>> {
    let disk = Path::new(PUSH_DISK);
    if !disk.exists() {
        return Ok(None);
    }
    let fs_type = mounts::detect(disk)?;
    mounts::mount(fs_type, PUSH_DISK, PUSH_MOUNT, &["ro", "nosuid", "nodev", "noexec"])?;
    let files = Path::new(PUSH_MOUNT).join(plan::FILES_DIR);
    if files.exists() {
        push(contexts, &files, Path::new(plan::PUSH_DIR))?;
    }
    let plan = Path::new(PUSH_MOUNT).join(plan::PLAN_FILE);
    if !plan.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&plan).with_context(|| format!("reading {}", plan.display()))?;
    Ok(Some(plan::parse(&text)?))
}

/// Copies what is in `from` into `to`, as `adb push` does: owned by shell, modes kept.
fn push(contexts: &FileContexts, from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("listing {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", from.display()))?;
        let source = entry.path();
        let target = to.join(entry.file_name());
        let metadata =
            fs::metadata(&source).with_context(|| format!("reading {}", source.display()))?;
        let kind = Kind::from(metadata.file_type());
        let context = target.to_str().and_then(|path| contexts.lookup(path, kind));
        let failed = || format!("pushing {}", target.display());
        if metadata.is_dir() {
            selinux::creating_as(context, || fs::create_dir(&target))?.with_context(failed)?;
            push(contexts, &source, &target)?;
        } else {
            selinux::creating_as(context, || fs::copy(&source, &target))?.with_context(failed)?;
        }
        let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777);
        fs::set_permissions(&target, mode).with_context(failed)?;
        chown(&target, Some(AID_SHELL), Some(AID_SHELL)).with_context(failed)?;
    }
    Ok(())
}

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

    // Also when it exited by itself: nothing it left behind may disturb the next step.
    launch::kill_cgroup(&cgroup)?;
    watch.until(supervisor, Instant::now() + KILL_LIMIT, Watch::is_over)?;
    let Some(ended) = watch.ended.filter(|_| watch.is_over()) else {
        bail!("cannot be killed");
    };
    remove_cgroup(supervisor, &cgroup)?;
    let denials = supervisor.take_denials()?;
    let how = match (timed_out, ended.code) {
        (true, _) => format!("was killed after {} s", step.timeout_s),
        (_, Some(code)) => format!("exited with status {code}"),
        (_, None) => format!("was ended by signal {}", ended.signal.unwrap_or_default()),
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
