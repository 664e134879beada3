"""POST /api/webhooks/stripe: checks the signature over the raw body, and in one
transaction stores the event and does what it asks for. The gateway gets its 200 once
that is committed."""

import json
import logging

import stripe
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.http import JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from payments.models import WebhookEvent
from payments.webhooks import apply

logger = logging.getLogger(__name__)

TOLERANCE_SECONDS = 300


@csrf_exempt
@require_POST
def stripe_webhook(request):
    try:
        # `stripe.Webhook.construct_event` does this too and then makes objects of all
        # that is in the event, which takes some twenty times as long.
        stripe.WebhookSignature.verify_header(
            request.body, request.headers.get("Stripe-Signature"), settings.STRIPE_WEBHOOK_SECRET, TOLERANCE_SECONDS
        )
        event = json.loads(request.body)
    except (stripe.SignatureVerificationError, ValueError):
        return JsonResponse({"status": "error", "error": "signature verification failed"}, status=400)
    try:
        is_new = take(event)
    except Exception as error:
        logger.exception("event %s (%s) failed", event["id"], event["type"])
        keep_for_review(event, error)
        return JsonResponse({"status": "error", "error": "processing failed"}, status=500)
    status = "success" if is_new else "duplicate"
    return JsonResponse({"received": True, "status": status, "event_id": event["id"]})


def take(event):
    """Returns whether the event is new. It is stored as processed at once: it is not
    seen by anybody before the transaction has ended."""
    try:
        with transaction.atomic():
            WebhookEvent.objects.create(
                event_id=event["id"],
                event_type=event["type"],
                payload=event,
                processed=True,
                processed_at=timezone.now(),
            )
            apply(event)
            return True
    except IntegrityError:
        with transaction.atomic():
            # Raises if it was not the event that was there already.
            stored = WebhookEvent.objects.select_for_update().get(event_id=event["id"])
            if stored.processed:
                return False
            apply(event)
            stored.processed = True
            stored.processed_at = timezone.now()
            stored.error_message = None
            stored.save(update_fields=["processed", "processed_at", "error_message"])
            return True


def keep_for_review(event, error):
    try:
        WebhookEvent.objects.update_or_create(
            event_id=event["id"],
            processed=False,
            defaults={"event_type": event["type"], "payload": event, "error_message": str(error)},
        )
    except Exception:
        logger.exception("event %s could not be kept either", event["id"])


@require_GET
def health(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})
