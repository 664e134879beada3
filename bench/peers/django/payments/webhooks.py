"""What an event means for its payment, and how that is written."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from payments.models import Dispute, Order, OrderStatusHistory, Payment, Refund

CHANGEABLE = (
    "order_id",
    "payment_status",
    "dispute_status",
    "amount_captured",
    "amount_refunded",
    "captured_at",
    "failure_code",
    "failure_message",
)


@dataclass(slots=True)
class Statement:
    """What an event says of its payment."""

    intent: str
    amount: int
    currency: str
    order: int | None = None
    status: str | None = None
    captured: int | None = None
    captured_at: int | None = None
    refunded: int | None = None
    failure: dict | None = None
    refund: dict | None = None
    dispute: dict | None = None


def statement(event):
    """None for an event that is of no concern to any payment."""
    kind, it, created = event["type"], event["data"]["object"], event["created"]
    match kind:
        case "payment_intent.created":
            return of_intent(it, status="pending")
        case "payment_intent.requires_action":
            return of_intent(it, status="requires_action")
        case "payment_intent.processing":
            return of_intent(it, status="processing")
        case "payment_intent.amount_capturable_updated":
            return of_intent(it, status="authorized")
        case "payment_intent.payment_failed":
            return of_intent(it, status="failed", failure=it["last_payment_error"])
        case "payment_intent.succeeded":
            return of_intent(it, status="paid", captured=it["amount_received"], captured_at=created)
        case "payment_intent.canceled":
            return of_intent(it, status="canceled")
        case "charge.pending":
            return of_charge(it, status="processing")
        case "charge.failed":
            failure = {"code": it["failure_code"], "message": it["failure_message"]}
            return of_charge(it, status="failed", failure=failure)
        case "charge.succeeded" | "charge.captured":
            # An authorisation succeeds too; the money comes with its capture.
            if not it["captured"]:
                return of_charge(it, status="authorized")
            return of_charge(it, status="paid", captured=it["amount_captured"], captured_at=created)
        case "charge.refunded":
            # Stripe counts what a partial capture released as refunded.
            refunded = it["amount_refunded"] - (it["amount"] - it["amount_captured"])
            return of_charge(
                it, status="paid", captured=it["amount_captured"], captured_at=it["created"], refunded=refunded
            )
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            if it["payment_status"] != "paid":
                return None
            return Statement(
                intent=it["payment_intent"],
                amount=it["amount_total"],
                currency=it["currency"],
                order=order_of(it["metadata"].get("order_id") or it["client_reference_id"]),
                status="paid",
                captured=it["amount_total"],
                captured_at=created,
            )
        case "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated":
            return Statement(it["payment_intent"], it["amount"], it["currency"], refund=it)
        case (
            "charge.dispute.created"
            | "charge.dispute.updated"
            | "charge.dispute.funds_withdrawn"
            | "charge.dispute.funds_reinstated"
            | "charge.dispute.closed"
        ):
            return Statement(it["payment_intent"], it["amount"], it["currency"], dispute=it)
    return None


def of_intent(intent, **said):
    order = order_of(intent["metadata"].get("order_id"))
    return Statement(intent["id"], intent["amount"], intent["currency"], order, **said)


def of_charge(charge, **said):
    order = order_of(charge["metadata"].get("order_id"))
    return Statement(charge["payment_intent"], charge["amount"], charge["currency"], order, **said)


def order_of(reference):
    return int(reference) if reference else None


def next_status(payment, said):
    """Where a payment stands when this is said of it. What came is not taken back by
    what comes late."""
    if payment.amount_captured > 0:
        if payment.amount_refunded >= payment.amount_captured:
            return "refunded"
        return "partially_refunded" if payment.amount_refunded > 0 else "paid"
    if "canceled" in (payment.payment_status, said):
        return "canceled"
    if payment.payment_status == "authorized" or said in (None, "pending"):
        return payment.payment_status
    return said


def apply(event):
    """Writes what an event means. In a transaction."""
    said = statement(event)
    if said is None:
        return
    payment, is_new = lock_payment(said)
    before = {name: getattr(payment, name) for name in CHANGEABLE}

    if payment.order_id is None and said.order is not None:
        make_order(said)
        payment.order_id = said.order
    if said.captured is not None:
        payment.amount_captured = max(payment.amount_captured, said.captured)
        payment.captured_at = payment.captured_at or datetime.fromtimestamp(said.captured_at, UTC)
    if said.failure is not None:
        payment.failure_code = said.failure["code"]
        payment.failure_message = said.failure["message"]
    if said.refunded is not None:
        payment.amount_refunded = said.refunded
    if said.refund is not None:
        write_refund(payment, said.refund)
        refunded = Refund.objects.filter(payment=payment, status="succeeded").aggregate(sum=Sum("amount"))["sum"]
        payment.amount_refunded = refunded or 0
    if said.dispute is not None:
        write_dispute(payment, said.dispute)
        if payment.dispute_status not in ("won", "lost"):
            status = said.dispute["status"]
            payment.dispute_status = status if status in ("won", "lost") else "open"
    payment.payment_status = next_status(payment, said.status)

    changed = [name for name in CHANGEABLE if getattr(payment, name) != before[name]]
    if changed:
        payment.save(update_fields=[*changed, "updated_at"])
    is_moved = "payment_status" in changed or "order_id" in changed
    if payment.order_id is not None and (is_new or is_moved):
        if is_moved:
            Order.objects.filter(id=payment.order_id).update(
                payment_status=payment.payment_status, updated_at=timezone.now()
            )
        OrderStatusHistory.objects.create(
            order_id=payment.order_id,
            payment_id=payment.id,
            from_status=None if is_new else before["payment_status"],
            to_status=payment.payment_status,
            event_id=event["id"],
        )


def lock_payment(said):
    """The payment, made if it is not there, locked until the transaction ends; and
    whether it was made."""
    payments = Payment.objects.select_for_update()
    try:
        return payments.get(gateway_transaction_id=said.intent), False
    except Payment.DoesNotExist:
        if said.order is not None:
            make_order(said)
    try:
        with transaction.atomic():
            made = Payment.objects.create(
                gateway_transaction_id=said.intent, order_id=said.order, amount=said.amount, currency=said.currency
            )
            return made, True
    except IntegrityError:
        # Another event of it came at the same moment and made it.
        return payments.get(gateway_transaction_id=said.intent), False


def make_order(said):
    order = Order(id=said.order, amount=said.amount, currency=said.currency)
    Order.objects.bulk_create([order], ignore_conflicts=True)


def write_refund(payment, refund):
    try:
        # Its payment is locked: nobody else writes it.
        stored = Refund.objects.get(gateway_refund_id=refund["id"])
    except Refund.DoesNotExist:
        Refund.objects.create(
            gateway_refund_id=refund["id"],
            payment=payment,
            status=refund["status"],
            amount=refund["amount"],
            currency=refund["currency"],
            reason=refund["reason"],
            failure_reason=refund.get("failure_reason"),
        )
        return
    if stored.status not in ("failed", "canceled"):
        stored.status = refund["status"]
        stored.failure_reason = refund.get("failure_reason")
        stored.save(update_fields=["status", "failure_reason", "updated_at"])


def write_dispute(payment, dispute):
    due_by = (dispute.get("evidence_details") or {}).get("due_by")
    due_by = datetime.fromtimestamp(due_by, UTC) if due_by else None
    try:
        stored = Dispute.objects.get(gateway_dispute_id=dispute["id"])
    except Dispute.DoesNotExist:
        Dispute.objects.create(
            gateway_dispute_id=dispute["id"],
            payment=payment,
            status=dispute["status"],
            amount=dispute["amount"],
            currency=dispute["currency"],
            reason=dispute["reason"],
            due_by=due_by,
        )
        return
    if stored.status not in ("won", "lost"):
        stored.status = dispute["status"]
        stored.due_by = due_by
        stored.save(update_fields=["status", "due_by", "updated_at"])
