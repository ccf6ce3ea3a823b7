//! A single `PutItem` as a transaction, so that the stream's record can go with it.

use dynoxide::DynoxideError;
use dynoxide::actions::put_item::{PutItemRequest, PutItemResponse};
use dynoxide::actions::transact_write_items::{
    TransactPut, TransactWriteItem, TransactWriteItemsRequest, TransactWriteItemsResponse,
};
use dynoxide::types::{CapacityDetail, ConsumedCapacity};

/// Has the put carried out by `transact`, and answers as `PutItem` does. As there was no item before, there are no
/// `ReturnValues` to return.
pub(super) fn run(
    request: PutItemRequest,
    transact: impl FnOnce(TransactWriteItemsRequest) -> Result<TransactWriteItemsResponse, DynoxideError>,
) -> Result<PutItemResponse, DynoxideError> {
    let mode = request.return_consumed_capacity.filter(|mode| mode != "NONE");
    let put = TransactPut {
        table_name: request.table_name,
        item: request.item,
        condition_expression: request.condition_expression,
        expression_attribute_names: request.expression_attribute_names,
        expression_attribute_values: request.expression_attribute_values,
        return_values_on_condition_check_failure: request.return_values_on_condition_check_failure,
    };
    let response = transact(TransactWriteItemsRequest {
        transact_items: vec![TransactWriteItem { put: Some(put), ..TransactWriteItem::default() }],
        // With the indexes' part, whatever was asked for: only the table's costs more in a transaction.
        return_consumed_capacity: mode.as_ref().map(|_| "INDEXES".to_owned()),
        ..TransactWriteItemsRequest::default()
    })
    .map_err(single_error)?;
    let capacity = response.consumed_capacity.and_then(|tables| tables.into_iter().next());
    let total = mode.is_some_and(|mode| mode == "TOTAL");
    Ok(PutItemResponse { consumed_capacity: capacity.map(|table| single(table, total)), ..PutItemResponse::default() })
}

/// Why the one write of a transaction failed, as `PutItem` says it.
fn single_error(error: DynoxideError) -> DynoxideError {
    let DynoxideError::TransactionCanceledException(message, reasons) = error else { return error };
    match reasons.into_iter().next() {
        Some(reason) if reason.code == "ConditionalCheckFailed" => {
            DynoxideError::ConditionalCheckFailedException(reason.message.unwrap_or(message), reason.item)
        }
        Some(reason) => DynoxideError::ValidationException(reason.message.unwrap_or(message)),
        None => DynoxideError::InternalServerError(message),
    }
}

/// What a put costs outside a transaction: half, but for the indexes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html>).
fn single(transaction: ConsumedCapacity, total: bool) -> ConsumedCapacity {
    let units = |detail: CapacityDetail, factor: f64| CapacityDetail {
        capacity_units: detail.capacity_units * factor,
        ..CapacityDetail::default()
    };
    let saved = transaction.table.as_ref().map_or(0.0, |table| table.capacity_units / 2.0);
    let capacity = ConsumedCapacity {
        table_name: transaction.table_name,
        capacity_units: transaction.capacity_units - saved,
        ..ConsumedCapacity::default()
    };
    if total {
        return capacity;
    }
    let indexes = |indexes: std::collections::HashMap<String, CapacityDetail>| {
        indexes.into_iter().map(|(name, detail)| (name, units(detail, 1.0))).collect()
    };
    ConsumedCapacity {
        table: transaction.table.map(|table| units(table, 0.5)),
        global_secondary_indexes: transaction.global_secondary_indexes.map(indexes),
        local_secondary_indexes: transaction.local_secondary_indexes.map(indexes),
        ..capacity
    }
}
