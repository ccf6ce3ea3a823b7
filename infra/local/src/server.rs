//! Everything together: the services, the gateway and the triggers, each on its port.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Clock;
use crate::aws::{Aws, OpenError, ProvisionError};
use crate::functions::Functions;
use crate::gateway::Gateway;
use crate::lambda::Lambda;
use crate::options::Options;
use crate::template::{FunctionsDiffer, Template, TemplateError};
use crate::triggers;

/// How long a stop waits for requests and invocations that are under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often expired items are deleted. DynamoDB itself takes up to two days.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// The hub, served.
pub struct Server {
    url: String,
    aws: Aws,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Why the hub can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The template can't run locally.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The functions can't be made.
    #[error("The functions can't be made: {0}")]
    Build(Box<dyn Error + Send + Sync>),
    /// The template has other functions than this binary.
    #[error(transparent)]
    Functions(#[from] FunctionsDiffer),
    /// The data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory has other tables than the template.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// A port can't be listened on.
    #[error("Port {port} can't be used: {source}. Stop what is listening there, or choose another with {option}.")]
    Port {
        /// The port.
        port: u16,
        /// The option that chooses it.
        option: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Server {
    /// Starts serving what `infra/template.yaml` describes. `build` makes its functions out of the services that they
    /// use, the template, which has their environment variables, and the URL of the HTTP API. `clock` tells the time,
    /// and `seed` is what request ids are drawn from.
    ///
    /// # Errors
    /// When the template, the functions, the data directory and the ports don't go together.
    pub async fn start(
        options: &Options,
        clock: Clock,
        seed: u64,
        build: impl FnOnce(&Aws, &Template, &str) -> Result<Functions, Box<dyn Error + Send + Sync>>,
    ) -> Result<Self, StartError> {
        let listener = listen(options.port, "--port").await?;
        let aws_listener = listen(options.aws_port, "--aws-port").await?;
        let aws_port = local_port(&aws_listener, options.aws_port);
        let aws = match &options.data_dir {
            Some(directory) => Aws::open(directory, aws_port, Arc::clone(&clock)).await?,
            None => Aws::in_memory(aws_port)?,
        };
        let template = Template::bundled(&aws.endpoint_url())?;
        let url = format!("http://127.0.0.1:{}", local_port(&listener, options.port));
        let functions = build(&aws, &template, &url).map_err(StartError::Build)?;
        let lambda = Arc::new(Lambda::new(&template, functions, Arc::clone(&clock), seed)?);
        aws.provision(&template).await?;
        let gateway = Arc::new(Gateway::new(&template, Arc::clone(&lambda), Arc::clone(&clock)));

        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(report("the HTTP API", gateway.serve(listener, is_set(stopped.clone()))));
        tasks.spawn(report("the AWS services", aws.clone().serve(aws_listener, is_set(stopped.clone()))));
        tasks.spawn(sweep(aws.clone(), stopped.clone()));
        let services = aws.clone();
        tasks.spawn(async move { triggers::run(&template, &services, &lambda, &clock, &stopped).await });
        Ok(Self { url, aws, stop, tasks })
    }

    /// Where the HTTP API and Lambda's Invoke API are.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The services that the functions use.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Stops serving, and waits a little for what is under way.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("stopped before all requests had their answers");
        }
    }
}

async fn listen(port: u16, option: &'static str) -> Result<TcpListener, StartError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| StartError::Port { port, option, source })
}

/// The port that is listened on, which is another than the wanted one where that is 0.
fn local_port(listener: &TcpListener, wanted: u16) -> u16 {
    listener.local_addr().map_or(wanted, |address| address.port())
}

async fn is_set(mut stop: watch::Receiver<bool>) {
    triggers::stopped(&mut stop).await;
}

async fn report(what: &'static str, served: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = served.await {
        tracing::error!(%error, "{what} can't be served any more");
    }
}

async fn sweep(aws: Aws, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = triggers::stopped(&mut stop) => return,
        }
        if let Err(error) = aws.sweep_expired().await {
            tracing::error!(error, "expired items can't be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::aws::Service;
    use crate::testing::{Directory, clock_at, function};

    const OPTIONS: Options = Options { port: 0, aws_port: 0, data_dir: None, demo: false, outage: None };

    /// Functions that answer with their event's body, as many as the template has.
    #[expect(clippy::unnecessary_wraps, reason = "it stands in for functions that may lack a setting")]
    fn echoes(_: &Aws, template: &Template, _: &str) -> Result<Functions, Box<dyn Error + Send + Sync>> {
        Ok(template.functions.iter().fold(Functions::default(), |functions, spec| {
            functions.with(
                &spec.name,
                function(|event, _| async move { Ok(json!({"statusCode": 200, "body": event["body"]})) }),
            )
        }))
    }

    async fn exchange(url: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    fn post(path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    }

    #[tokio::test]
    async fn both_ports_answer_until_the_stop() {
        let hub = Server::start(&OPTIONS, clock_at(0), 1, echoes).await.unwrap();
        let response = exchange(hub.url(), &post("/webhooks/acme/stripe", "", "hello")).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nhello"), "{response}");
        let target = "X-Amz-Target: DynamoDB_20120810.ListTables\r\n";
        let response = exchange(&hub.aws().endpoint_url(), &post("/", target, "{}")).await;
        assert!(response.ends_with(r#"{"TableNames":["smrt-local-HubTable"]}"#), "{response}");
        let url = hub.url().to_owned();
        hub.stop().await;
        assert!(TcpStream::connect(url.strip_prefix("http://").unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_on_the_port_too() {
        let hub = Server::start(&OPTIONS, clock_at(0), 1, echoes).await.unwrap();
        let head = "POST /webhooks/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 10485761\r\n\r\n";
        let mut stream = TcpStream::connect(hub.url().strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413");
    }

    #[tokio::test]
    async fn what_does_not_go_together_is_explained() {
        let hub = Server::start(&OPTIONS, clock_at(0), 1, echoes).await.unwrap();
        let port = hub.url().rsplit(':').next().unwrap().parse().unwrap();
        let taken =
            Server::start(&Options { port, ..OPTIONS }, clock_at(0), 1, echoes).await.err().unwrap().to_string();
        assert!(
            taken.starts_with(&format!("Port {port} can't be used: ")) && taken.ends_with("with --port."),
            "{taken}"
        );
        let none = Server::start(&OPTIONS, clock_at(0), 1, |_, _, _| Ok(Functions::default()))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(none.contains("Only in infra/template.yaml: administer-tenant, authorize-api-key,"), "{none}");
    }

    #[tokio::test]
    async fn a_stopped_hub_starts_again_with_its_data() {
        let directory = Directory::new();
        let options = Options { data_dir: Some(directory.path().to_owned()), ..OPTIONS };
        let put = json!({"TableName": "smrt-local-HubTable", "Item": {"pk": {"S": "a"}, "sk": {"S": "b"}}});
        let hub = Server::start(&options, clock_at(0), 1, echoes).await.unwrap();
        hub.aws().request(Service::DynamoDb, "PutItem", &put).await.unwrap();
        hub.stop().await;
        let hub = Server::start(&options, clock_at(0), 1, echoes).await.unwrap();
        let scan = json!({"TableName": "smrt-local-HubTable"});
        let found = hub.aws().request(Service::DynamoDb, "Scan", &scan).await.unwrap();
        assert_eq!(found["Count"], 1);
    }
}
