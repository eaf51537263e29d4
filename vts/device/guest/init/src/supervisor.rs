// SPDX-License-Identifier: Apache-2.0
//! Services: start, output, end, restart; and the messages of everything init waits for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context, Result};
use vts_init::rc::Service;
use vts_init::report::Event;

use crate::launch::{self, Spec};
use crate::message::{Ended, Message, Source};
use crate::{kernel_log, log, output, port, selinux};

/// A crash loop, as on Android: more than this many ends within [`CRASH_WINDOW`].
const CRASH_LIMIT: usize = 4;
const CRASH_WINDOW: Duration = Duration::from_secs(4 * 60);

/// Mask of files made by services, as Android's init sets it.
const SERVICE_UMASK: u32 = 0o077;

struct Running {
    pid: u32,
    since: Instant,
}

struct Supervised {
    service: Service,
    running: Option<Running>,
    restart_at: Option<Instant>,
    ends: VecDeque<Instant>,
}

/// The services and the message queue.
pub struct Supervisor {
    services: Vec<Supervised>,
    messages: Receiver<Message>,
    sender: SyncSender<Message>,
    properties: HashMap<String, String>,
    denials: Vec<String>,
    stopping: bool,
}

impl Supervisor {
    /// Takes over the services; nothing is started yet.
    pub fn new(
        services: &[Service],
        messages: Receiver<Message>,
        sender: SyncSender<Message>,
    ) -> Self {
        let services = services
            .iter()
            .map(|service| Supervised {
                service: service.clone(),
                running: None,
                restart_at: None,
                ends: VecDeque::new(),
            })
            .collect();
        Self {
            services,
            messages,
            sender,
            properties: HashMap::new(),
            denials: Vec::new(),
            stopping: false,
        }
    }

    /// Starts every service of a class that is not `disabled`.
    pub fn class_start(&mut self, class: &str) -> Result<()> {
        let members: Vec<usize> = self
            .services
            .iter()
            .enumerate()
            .filter(|(_, s)| s.service.class == class && !s.service.disabled && s.running.is_none())
            .map(|(index, _)| index)
            .collect();
        members.into_iter().try_for_each(|index| self.start_index(index))
    }

    /// Starts a service by name, if it does not run yet.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let index = self
            .services
            .iter()
            .position(|s| s.service.name == name)
            .ok_or_else(|| anyhow!("there is no service '{name}'"))?;
        if self.services[index].running.is_some() {
            return Ok(());
        }
        self.start_index(index)
    }

    /// Whether a service of that name runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.services.iter().any(|s| s.service.name == name && s.running.is_some())
    }

    fn start_index(&mut self, index: usize) -> Result<()> {
        let service = &self.services[index].service;
        let context = match &service.seclabel {
            Some(label) => label.clone(),
            None => selinux::context_of_program(&service.argv[0])
                .with_context(|| format!("service '{}'", service.name))?,
        };
        let spec = Spec {
            uid: service.uid,
            gid: service.gid,
            groups: service.groups.clone(),
            context: service.seclabel.clone(),
            cgroup: service.name.clone(),
            capabilities: service.capabilities.clone(),
            nice: service.priority,
            oom_score_adjust: service.oom_score_adjust,
            umask: SERVICE_UMASK,
            cwd: "/".into(),
            console: service.console,
        };
        let mut env = launch::base_env();
        env.extend(service.env.iter().cloned());
        let pid = self
            .launch(Source::Service(index), &spec, &service.argv, &env)
            .with_context(|| format!("service '{}'", self.services[index].service.name))?;
        let supervised = &mut self.services[index];
        supervised.running = Some(Running { pid, since: Instant::now() });
        supervised.restart_at = None;
        let name = supervised.service.name.clone();
        log::info(&format!("service '{name}' started as pid {pid}, {context}"));
        port::send(&Event::Service { name, pid, uid: supervised.service.uid, context })
    }

    /// Starts a program whose output lines come as messages from `source`.
    pub fn launch(
        &self,
        source: Source,
        spec: &Spec,
        argv: &[String],
        env: &BTreeMap<String, String>,
    ) -> Result<u32> {
        output::launch(&self.sender, source, spec, argv, env)
    }

    /// Handles what concerns services, and returns the next message that concerns a step; None
    /// when `until` has come.
    pub fn next_step_message(&mut self, until: Instant) -> Result<Option<Message>> {
        // The condition also ends the loop while messages keep coming.
        while Instant::now() < until {
            self.restart_due()?;
            let next_restart = self.services.iter().filter_map(|s| s.restart_at).min();
            let wake = next_restart.map_or(until, |restart| restart.min(until));
            let wait = wake.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(wait) {
                Ok(message) => {
                    if let Some(message) = self.handle(message)? {
                        return Ok(Some(message));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("all message senders are gone"),
            }
        }
        Ok(None)
    }

    /// Handles messages until `until`; whatever a step still sends is dropped.
    pub fn pump(&mut self, until: Instant) -> Result<()> {
        while self.next_step_message(until)?.is_some() {}
        Ok(())
    }

    /// Handles messages until a property has a value.
    pub fn wait_for_property(&mut self, name: &str, value: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.properties.get(name).map(String::as_str) != Some(value) {
            ensure!(Instant::now() < deadline, "'{name}' was not '{value}' within {limit:?}");
            self.pump(Instant::now() + Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Handles messages until everything in the kernel log so far has been seen, then returns the
    /// denials since the last call. The kernel prints a denial some time after it happened.
    pub fn take_denials(&mut self) -> Result<Vec<String>> {
        const AUDIT_DELAY: Duration = Duration::from_millis(100);
        self.pump(Instant::now() + AUDIT_DELAY)?;
        Ok(std::mem::take(&mut self.denials))
    }

    fn handle(&mut self, message: Message) -> Result<Option<Message>> {
        match message {
            Message::Line { source: Source::Service(index), text, .. } => {
                let name = &self.services[index].service.name;
                match property(name, &text) {
                    Some((key, value)) => drop(self.properties.insert(key, value)),
                    None => log::service(name, &text),
                }
            }
            Message::Closed { source: Source::Service(_) } => {}
            Message::Kernel(text) => self.denials.extend(kernel_log::denial(&text).map(Into::into)),
            Message::Fatal(reason) => bail!(reason),
            Message::Ended { pid, ended } => {
                let index = self
                    .services
                    .iter()
                    .position(|s| s.running.as_ref().is_some_and(|running| running.pid == pid));
                match index {
                    Some(index) => self.service_ended(index, pid, ended)?,
                    None => return Ok(Some(Message::Ended { pid, ended })),
                }
            }
            step @ (Message::Line { .. } | Message::Closed { .. }) => return Ok(Some(step)),
        }
        Ok(None)
    }

    fn service_ended(&mut self, index: usize, pid: u32, ended: Ended) -> Result<()> {
        let supervised = &mut self.services[index];
        let name = supervised.service.name.clone();
        let started = supervised.running.take().map(|running| running.since);
        log::info(&format!("service '{name}' (pid {pid}) {ended}"));
        if !self.stopping {
            port::send(&Event::ServiceExit {
                name: name.clone(),
                pid,
                code: ended.code,
                signal: ended.signal,
            })?;
        }
        // Otherwise its children would live on beside those of the next start.
        launch::kill_cgroup(&name)?;
        if self.stopping || supervised.service.oneshot || supervised.service.console {
            return Ok(());
        }
        let now = Instant::now();
        supervised.ends.push_back(now);
        supervised.ends.retain(|end| now.duration_since(*end) < CRASH_WINDOW);
        let looping = supervised.ends.len() > CRASH_LIMIT;
        ensure!(
            !(looping && supervised.service.critical),
            "critical service '{name}' ended {} times within {CRASH_WINDOW:?}",
            supervised.ends.len()
        );
        let period = Duration::from_secs(supervised.service.restart_period_s);
        supervised.restart_at = Some(started.unwrap_or(now) + period);
        Ok(())
    }

    fn restart_due(&mut self) -> Result<()> {
        let now = Instant::now();
        for index in 0..self.services.len() {
            if self.services[index].restart_at.is_some_and(|at| at <= now) {
                self.start_index(index)?;
                let classes = self.services[index].service.onrestart.clone();
                classes.iter().try_for_each(|class| self.class_restart(class))?;
            }
        }
        Ok(())
    }

    /// Kills the running services of a class; they are started again as after a crash.
    fn class_restart(&self, class: &str) -> Result<()> {
        self.services
            .iter()
            .filter(|s| s.service.class == class && s.running.is_some())
            .try_for_each(|s| launch::kill_cgroup(&s.service.name))
    }

    /// Stops every service: SIGTERM, then SIGKILL after a grace period.
    pub fn stop_all(&mut self) -> Result<()> {
        const GRACE: Duration = Duration::from_secs(2);
        const LIMIT: Duration = Duration::from_secs(10);
        self.stopping = true;
        for supervised in &mut self.services {
            supervised.restart_at = None;
            if let Some(running) = &supervised.running {
                terminate(running.pid);
            }
        }
        let begin = Instant::now();
        while self.any_running() && begin.elapsed() < GRACE {
            self.pump(Instant::now() + Duration::from_millis(10))?;
        }
        let left = self.services.iter().filter(|s| s.running.is_some());
        for supervised in left {
            launch::kill_cgroup(&supervised.service.name)?;
        }
        while self.any_running() {
            ensure!(begin.elapsed() < LIMIT, "services do not end");
            self.pump(Instant::now() + Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn any_running(&self) -> bool {
        self.services.iter().any(|s| s.running.is_some())
    }
}

fn terminate(pid: u32) {
    use nix::sys::signal::{kill, Signal};
    let Ok(raw) = i32::try_from(pid) else { return };
    // It may have ended in the meantime.
    let _ = kill(nix::unistd::Pid::from_raw(raw), Signal::SIGTERM);
}

/// A service tells its state by printing `setprop NAME VALUE`, where Android's services would call
/// the property service; a service can set what begins with its own name only.
fn property(service: &str, line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("setprop ")?.split_once(' ')?;
    let owned = name.strip_prefix(service)?.starts_with('.');
    owned.then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_belong_to_their_service() {
        let set = |line| property("servicemanager", line);
        assert_eq!(
            set("setprop servicemanager.ready true"),
            Some(("servicemanager.ready".into(), "true".into()))
        );
        assert_eq!(set("setprop other.ready true"), None);
        assert_eq!(set("setprop servicemanagerx.ready true"), None);
        assert_eq!(set("ready"), None);
    }
}
