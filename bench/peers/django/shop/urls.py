from django.urls import path
from payments.views import health, stripe_webhook

urlpatterns = [
    path("api/webhooks/stripe", stripe_webhook),
    path("api/webhooks/health", health),
]
