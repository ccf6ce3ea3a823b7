//! AWS in a thread of its own.

use std::sync::{Arc, mpsc};

use local::{aws::Aws, template::Template};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Handle};

use super::{function::system_time, tenant::provision};

/// The services, until the process ends.
pub struct Services {
    pub aws: Aws,
    pub runtime: Handle,
}

impl Services {
    /// Serves the template's tables and queues. Nothing runs but what is called here.
    pub fn start() -> Self {
        let (ready, wait) = mpsc::channel();
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let aws = Aws::in_memory(listener.local_addr().unwrap().port()).unwrap();
            aws.provision(&Template::bundled(&aws.endpoint_url()).unwrap()).await.unwrap();
            ready.send((aws.clone(), Handle::current())).unwrap();
            aws.serve(listener, std::future::pending()).await.unwrap();
        };
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        let (aws, runtime) = wait.recv().unwrap();
        Self { aws, runtime }
    }

    /// Where they are.
    pub fn url(&self) -> String {
        self.aws.endpoint_url()
    }

    /// Makes a tenant, as an operator does; gives the answer.
    pub fn make(&self, tenant: Value) -> Value {
        let surroundings: (local::Clock, shared::hub::Random) =
            (Arc::new(system_time), Arc::new(shared::hub::system_random));
        self.runtime.block_on(async {
            let template = Template::bundled(&self.url()).unwrap();
            provision(&self.aws, &template, tenant, surroundings).await
        })
    }
}
