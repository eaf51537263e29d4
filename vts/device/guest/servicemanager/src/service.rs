// SPDX-License-Identifier: Apache-2.0
//! `android.os.IServiceManager`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rsbinder::hub::android_16::android::os::Service::Service;
use rsbinder::hub::android_16::android::os::ServiceWithMetadata::ServiceWithMetadata;
use rsbinder::hub::android_16::{
    ConnectionInfo, IClientCallback, IServiceCallback, IServiceManager, ServiceDebugInfo,
    DUMP_FLAG_PRIORITY_ALL, FLAG_IS_LAZY_SERVICE,
};
use rsbinder::thread_state::CallingContext;
use rsbinder::{
    BinderResult, DeathRecipient, ExceptionCode, Interface, SIBinder, Stability, Status, Strong,
    WIBinder,
};

use crate::access::{Access, Caller, Permission};
use crate::contexts::ServiceContexts;
use crate::registry::{is_valid_name, Entry, Registry};
use crate::vintf::Declarations;

/// Ids of one Android user.
const IDS_PER_USER: u32 = 100_000;
const FIRST_APP_ID: u32 = 10_000;
const FIRST_ISOLATED_ID: u32 = 90_000;

type Callback = Strong<dyn IServiceCallback>;
type Services = Registry<SIBinder, Callback>;

/// The service manager.
pub struct ServiceManager {
    access: Arc<Access>,
    contexts: ServiceContexts,
    declarations: Declarations,
    services: Arc<Mutex<Services>>,
    deaths: Arc<Deaths>,
}

/// Drops what died.
struct Deaths {
    services: Weak<Mutex<Services>>,
}

impl DeathRecipient for Deaths {
    fn binder_died(&self, who: &WIBinder) {
        let Some(services) = self.services.upgrade() else { return };
        let names =
            lock(&services).forget(|binder| who == binder, |callback| *who == callback.as_binder());
        for name in names {
            println!("service '{name}' died");
        }
    }
}

fn lock(services: &Mutex<Services>) -> MutexGuard<'_, Services> {
    services.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caller() -> Caller {
    let context = CallingContext::default();
    Caller {
        pid: context.pid,
        uid: context.uid,
        context: context.sid.map(|sid| sid.to_string_lossy().into_owned()),
    }
}

fn security(reason: &str) -> Status {
    (ExceptionCode::Security, reason).into()
}

impl ServiceManager {
    /// A service manager without any service.
    pub fn new(access: Arc<Access>, contexts: ServiceContexts, declarations: Declarations) -> Self {
        let services = Arc::new(Mutex::new(Services::default()));
        let deaths = Arc::new(Deaths { services: Arc::downgrade(&services) });
        Self { access, contexts, declarations, services, deaths }
    }

    fn allows(&self, caller: &Caller, name: &str, permission: Permission) -> bool {
        match self.contexts.lookup(name) {
            Some(target) => self.access.allows(caller, target, permission, Some(name)),
            None => {
                log::error!("no SELinux context for service '{name}' and no default");
                false
            }
        }
    }

    fn require(&self, name: &str, permission: Permission) -> BinderResult<()> {
        if self.allows(&caller(), name, permission) {
            Ok(())
        } else {
            Err(security("SELinux denied."))
        }
    }

    fn require_list(&self) -> BinderResult<()> {
        let target = self.access.own_context();
        if self.access.allows(&caller(), target, Permission::List, None) {
            Ok(())
        } else {
            Err(security("SELinux denied."))
        }
    }

    /// A denied lookup looks like an absent service.
    fn find(&self, name: &str) -> Option<Entry<SIBinder>> {
        let caller = caller();
        if !self.allows(&caller, name, Permission::Find) {
            return None;
        }
        let isolated = caller.uid % IDS_PER_USER >= FIRST_ISOLATED_ID;
        let entry = lock(&self.services).get(name).cloned()?;
        (!isolated || entry.allow_isolated).then_some(entry)
    }

    fn find_with_metadata(&self, name: &str) -> Service {
        let entry = self.find(name);
        Service::ServiceWithMetadata(ServiceWithMetadata {
            isLazyService: entry.as_ref().is_some_and(|e| e.flags & FLAG_IS_LAZY_SERVICE != 0),
            service: entry.map(|e| e.binder),
        })
    }

    fn link_to_death(&self, binder: &SIBinder) -> BinderResult<()> {
        let deaths: Arc<dyn DeathRecipient> = self.deaths.clone();
        binder.link_to_death(Arc::downgrade(&deaths)).map_err(|error| {
            log::error!("linking to death: {error}");
            (ExceptionCode::IllegalState, "Couldn't linkToDeath.").into()
        })
    }
}

impl Interface for ServiceManager {}

#[allow(non_snake_case)] // The names of the AIDL interface.
impl IServiceManager for ServiceManager {
    fn getService(&self, name: &str) -> BinderResult<Option<SIBinder>> {
        Ok(self.find(name).map(|entry| entry.binder))
    }

    fn getService2(&self, name: &str) -> BinderResult<Service> {
        Ok(self.find_with_metadata(name))
    }

    fn checkService(&self, name: &str) -> BinderResult<Option<SIBinder>> {
        Ok(self.find(name).map(|entry| entry.binder))
    }

    fn checkService2(&self, name: &str) -> BinderResult<Service> {
        Ok(self.find_with_metadata(name))
    }

    fn addService(
        &self,
        name: &str,
        service: &SIBinder,
        allow_isolated: bool,
        flags: i32,
    ) -> BinderResult<()> {
        let caller = caller();
        if caller.uid % IDS_PER_USER >= FIRST_APP_ID {
            return Err(security("App UIDs cannot add services."));
        }
        self.require(name, Permission::Add)?;
        if !is_valid_name(name) {
            log::error!("invalid service name '{}'", name.escape_debug());
            return Err((ExceptionCode::IllegalArgument, "Invalid service name.").into());
        }
        if service.stability() == Stability::Vintf && !self.declarations.is_declared(name) {
            log::error!("'{name}' is VINTF-stable, but in no VINTF manifest");
            return Err((ExceptionCode::IllegalArgument, "VINTF declaration error.").into());
        }
        let known = lock(&self.services).holds(service);
        if !known {
            self.link_to_death(service)?;
        }
        let entry = Entry { binder: service.clone(), allow_isolated, flags, pid: caller.pid };
        let watchers = {
            let mut services = lock(&self.services);
            if services.insert(name, entry).is_some() {
                log::warn!("'{name}' is registered again, by pid {}", caller.pid);
            }
            services.watchers(name)
        };
        for watcher in watchers {
            notify(&watcher, name, service);
        }
        Ok(())
    }

    fn listServices(&self, dump_priority: i32) -> BinderResult<Vec<String>> {
        self.require_list()?;
        let wanted = dump_priority & DUMP_FLAG_PRIORITY_ALL;
        Ok(lock(&self.services)
            .iter()
            .filter(|(_, entry)| entry.flags & wanted != 0)
            .map(|(name, _)| name.to_owned())
            .collect())
    }

    fn registerForNotifications(&self, name: &str, callback: &Callback) -> BinderResult<()> {
        self.require(name, Permission::Find)?;
        if !is_valid_name(name) {
            return Err((ExceptionCode::IllegalArgument, "Invalid service name.").into());
        }
        self.link_to_death(&callback.as_binder())?;
        let present = {
            let mut services = lock(&self.services);
            services.watch(name, callback.clone());
            services.get(name).map(|entry| entry.binder.clone())
        };
        if let Some(binder) = present {
            notify(callback, name, &binder);
        }
        Ok(())
    }

    fn unregisterForNotifications(&self, name: &str, callback: &Callback) -> BinderResult<()> {
        self.require(name, Permission::Find)?;
        let wanted = callback.as_binder();
        if lock(&self.services).unwatch(name, |other| other.as_binder() == wanted) {
            Ok(())
        } else {
            Err((ExceptionCode::IllegalState, "Nothing to unregister.").into())
        }
    }

    fn isDeclared(&self, name: &str) -> BinderResult<bool> {
        self.require(name, Permission::Find)?;
        Ok(self.declarations.is_declared(name))
    }

    fn getDeclaredInstances(&self, interface: &str) -> BinderResult<Vec<String>> {
        let caller = caller();
        let all: Vec<&str> = self.declarations.instances(interface).collect();
        let found: Vec<String> = all
            .iter()
            .filter(|instance| {
                self.allows(&caller, &format!("{interface}/{instance}"), Permission::Find)
            })
            .map(|instance| (*instance).to_owned())
            .collect();
        if found.is_empty() && !all.is_empty() {
            return Err(security("SELinux denied."));
        }
        Ok(found)
    }

    /// The device has no APEX.
    fn updatableViaApex(&self, name: &str) -> BinderResult<Option<String>> {
        self.require(name, Permission::Find)?;
        Ok(None)
    }

    fn getUpdatableNames(&self, _apex: &str) -> BinderResult<Vec<String>> {
        Ok(Vec::new())
    }

    /// No service of the device is reached over a network.
    fn getConnectionInfo(&self, name: &str) -> BinderResult<Option<ConnectionInfo>> {
        self.require(name, Permission::Find)?;
        Ok(None)
    }

    /// Services are not started on demand, so callbacks about clients are refused.
    fn registerClientCallback(
        &self,
        _name: &str,
        _service: &SIBinder,
        _callback: &Strong<dyn IClientCallback>,
    ) -> BinderResult<()> {
        Err(ExceptionCode::UnsupportedOperation.into())
    }

    fn tryUnregisterService(&self, _name: &str, _service: &SIBinder) -> BinderResult<()> {
        Err(ExceptionCode::UnsupportedOperation.into())
    }

    fn getServiceDebugInfo(&self) -> BinderResult<Vec<ServiceDebugInfo>> {
        self.require_list()?;
        Ok(lock(&self.services)
            .iter()
            .map(|(name, entry)| ServiceDebugInfo { name: name.to_owned(), debugPid: entry.pid })
            .collect())
    }
}

fn notify(callback: &Callback, name: &str, binder: &SIBinder) {
    if let Err(error) = callback.onRegistration(name, binder) {
        log::warn!("telling a watcher of '{name}': {error}");
    }
}
