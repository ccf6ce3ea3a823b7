//! What a failed call to AWS means. Whether trying again can help is decided here, where the error is born.

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// A call to AWS that didn't succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out, not connected or failing on AWS' side: it passes.
    #[error("{operation} failed for the moment: {reason}")]
    Unavailable {
        /// The AWS operation.
        operation: &'static str,
        /// What AWS said, without the request's content.
        reason: String,
    },
    /// Not permitted, or what it works on isn't there: it stays so until an operator mends the deployment.
    #[error(
        "AWS doesn't let {operation} through ({reason}); an operator must look at the function's policy and settings"
    )]
    Denied {
        /// The AWS operation.
        operation: &'static str,
        /// The error's code.
        reason: String,
    },
    /// Refused for what it asks: trying again gives the same.
    #[error("{operation} was refused: {reason}")]
    Rejected {
        /// The AWS operation.
        operation: &'static str,
        /// What AWS said.
        reason: String,
    },
}

impl StoreError {
    /// Whether the operation is worth another try (contract §4: "Retried: time-outs, connection errors, HTTP 408, 425, 429
    /// and 5xx, throttling and 5xx of AWS. Not retried: authentication, permission, validation, other 4xx.").
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Nothing was done: the call can't even be made of these values.
    pub(super) fn unbuildable(operation: &'static str, error: &impl std::error::Error) -> Self {
        Self::Rejected { operation, reason: error.to_string() }
    }
}

/// Codes that DynamoDB, SQS, Secrets Manager and KMS answer with status 400 or 403 and that pass by themselves:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>.
const PASSING: [&str; 15] = [
    "ExpiredToken", // the SDK fetches new credentials
    "ExpiredTokenException",
    "KmsThrottled",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Codes of a request that is refused for what it holds.
const OF_CONTENT: [&str; 11] = [
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "IdempotentParameterMismatchException",
    "InvalidMessageContents",
    "InvalidParameterException",
    "InvalidParameterValue",
    "InvalidRequestException",
    "ItemCollectionSizeLimitExceededException",
    "MalformedPolicyDocumentException",
    "SerializationException",
    "ValidationException",
];

/// Tells what a failed call means, by the type of the error and never by its text.
pub fn classify<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let unavailable = |reason: &str| StoreError::Unavailable { operation, reason: reason.into() };
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().unwrap_or("an unknown error");
            // SQS' older codes come with a namespace: `com.amazonaws.sqs#…`, `AWS.SimpleQueueService.…`.
            let name = code.rsplit(['#', '.']).next().unwrap_or(code);
            if status >= 500 || [408, 425, 429].contains(&status) || PASSING.contains(&name) {
                StoreError::Unavailable { operation, reason: code.to_owned() }
            } else if OF_CONTENT.contains(&name) {
                let message = context.err().message().unwrap_or_default();
                StoreError::Rejected { operation, reason: format!("{code}: {message}") }
            } else {
                StoreError::Denied { operation, reason: code.to_owned() }
            }
        }
        SdkError::ConstructionFailure(_) => {
            StoreError::Rejected { operation, reason: "the request can't be made of these values".into() }
        }
        SdkError::TimeoutError(_) => unavailable("no answer in time"),
        SdkError::DispatchFailure(_) => unavailable("no connection"),
        _ => unavailable("the answer can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{
        error::{ConnectorError, ErrorMetadata},
        operation::put_item::PutItemError,
    };

    use super::*;

    fn answered(status: u16, code: &str) -> StoreError {
        let error = PutItemError::generic(ErrorMetadata::builder().code(code).message("with the content").build());
        let response = HttpResponse::new(status.try_into().unwrap(), "".into());
        classify("PutItem", SdkError::service_error(error, response))
    }

    #[test]
    fn every_class_of_answer_is_retried_kept_or_an_operators_matter() {
        let passes = |error: StoreError| error.is_retryable();
        for (status, code) in [
            (500, "InternalServerError"),
            (500, "InternalFailure"),
            (503, "ServiceUnavailable"),
            (408, "RequestTimeout"),
            (429, "SomethingNew"),
            (400, "ThrottlingException"),
            (400, "ProvisionedThroughputExceededException"),
            (400, "TransactionInProgressException"),
            (403, "com.amazonaws.sqs#OverLimit"),
            (403, "AWS.SimpleQueueService.RequestThrottled"),
            (400, "ExpiredTokenException"),
        ] {
            assert!(passes(answered(status, code)), "{status} {code}");
        }
        for code in [
            "AccessDeniedException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "ResourceNotFoundException",
            "QueueDoesNotExist",
            "KmsAccessDenied",
            "DecryptionFailure",
            "SomethingNew",
        ] {
            let error = answered(400, code);
            assert!(!passes(error.clone()) && matches!(error, StoreError::Denied { .. }), "{code}");
            assert!(!error.to_string().contains("with the content"));
        }
        for code in ["ValidationException", "SerializationException", "com.amazonaws.sqs#InvalidMessageContents"] {
            let error = answered(400, code);
            assert!(!passes(error.clone()) && matches!(error, StoreError::Rejected { .. }), "{code}");
        }
    }

    #[test]
    fn what_never_was_answered_is_tried_again() {
        let io = || ConnectorError::io("reset".into());
        let table: [SdkError<PutItemError, HttpResponse>; 3] = [
            SdkError::timeout_error("slow"),
            SdkError::dispatch_failure(io()),
            SdkError::response_error("garbled", HttpResponse::new(200.try_into().unwrap(), "".into())),
        ];
        for error in table {
            assert!(classify("PutItem", error).is_retryable());
        }
        assert!(!classify::<PutItemError>("PutItem", SdkError::construction_failure("values")).is_retryable());
    }
}
