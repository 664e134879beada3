from django.db import models


class WebhookEvent(models.Model):
    event_id = models.CharField(max_length=255)
    event_type = models.CharField(max_length=255)
    payload = models.JSONField()
    processed = models.BooleanField(default=False)
    error_message = models.TextField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhook_events"
        # Not `unique=True`, which would make a second index, for LIKE.
        constraints = [models.UniqueConstraint(fields=["event_id"], name="webhook_events_event_id")]


class Order(models.Model):
    payment_status = models.CharField(max_length=32, default="pending")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "orders"


class Payment(models.Model):
    gateway_transaction_id = models.CharField(max_length=255)
    order = models.ForeignKey(Order, null=True, on_delete=models.PROTECT)
    payment_status = models.CharField(max_length=32, default="pending")
    dispute_status = models.CharField(max_length=32, default="none")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    amount_captured = models.BigIntegerField(default=0)
    amount_refunded = models.BigIntegerField(default=0)
    failure_code = models.CharField(max_length=255, null=True)
    failure_message = models.TextField(null=True)
    captured_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "payments"
        constraints = [
            models.UniqueConstraint(fields=["gateway_transaction_id"], name="payments_gateway_transaction_id")
        ]


class OrderStatusHistory(models.Model):
    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, db_index=False)
    from_status = models.CharField(max_length=32, null=True)
    to_status = models.CharField(max_length=32)
    event_id = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "order_status_history"


class Refund(models.Model):
    gateway_refund_id = models.CharField(max_length=255)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT)
    status = models.CharField(max_length=32)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=255, null=True)
    failure_reason = models.CharField(max_length=255, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "refunds"
        constraints = [models.UniqueConstraint(fields=["gateway_refund_id"], name="refunds_gateway_refund_id")]


class Dispute(models.Model):
    gateway_dispute_id = models.CharField(max_length=255)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT)
    status = models.CharField(max_length=32)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=255, null=True)
    due_by = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "disputes"
        constraints = [models.UniqueConstraint(fields=["gateway_dispute_id"], name="disputes_gateway_dispute_id")]
