#!/bin/sh
# Five systems that Quittance replaces, each from its first call to its end, with nothing
# but curl, openssl and quittance. Prints what each ended as, and ends with 1 if one of
# them ended otherwise than it should.
#
#   cargo build --release && examples/five-systems.sh
#   QUITTANCE=/usr/local/bin/quittance examples/five-systems.sh
#   examples/five-systems.sh postgres://me:password@127.0.0.1/an_empty_database
set -eu

quittance=${QUITTANCE:-$(dirname "$0")/../target/release/quittance}
for program in curl openssl "$quittance"; do
    command -v "$program" >/dev/null || { echo "five-systems.sh: $program is missing: install it, or build it" >&2; exit 1; }
done
case $quittance in /*) ;; */*) quittance=$PWD/$quittance ;; esac # It is run from elsewhere.
scratch=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT INT TERM

export DATABASE_URL="${1:-sqlite:$scratch/quittance.db}" QUITTANCE_LOG=warn
export STRIPE_WEBHOOK_SECRET="whsec_of_the_example" WEBHOOK_SECRET="generic_secret_of_the_example"
export PAYMENT_API_KEY="api_key_of_the_example"
cd "$scratch" # Where no quittance.toml is.
: >"$scratch/out" # So that it is there to be looked at, however late the server opens it.
"$quittance" serve --listen 127.0.0.1:0 >"$scratch/out" 2>"$scratch/log" &
server=$!
until url=$(sed -n 's/^listening on //p' "$scratch/out") && [ -n "$url" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
    sleep 0.1
done
key=$("$quittance" keys create --scope write 2>/dev/null)

now() { date +%s; }
http() { curl -q -sS --noproxy '*' "$@"; } # Whatever the reader's own curl is set up to do.
# api METHOD PATH [JSON]
api() {
    if [ $# -gt 2 ]; then
        http -X "$1" "$url$2" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$3"
    else
        http -X "$1" "$url$2" -H "Authorization: Bearer $key"
    fi
}
hmac() { openssl dgst -sha256 -hmac "$1" -r | cut -d' ' -f1; }
# stripe PATH BODY: signed like Stripe does.
stripe() {
    t=$(now)
    v1=$(printf '%s.%s' "$t" "$2" | hmac "$STRIPE_WEBHOOK_SECRET")
    http "$url$1" -H "Stripe-Signature: t=$t,v1=$v1" -H 'Content-Type: application/json' -d "$2"
}
# generic BODY: signed like a payment provider of one's own.
generic() {
    t=$(now)
    v1=$(printf '%s.%s' "$t" "$1" | hmac "$WEBHOOK_SECRET")
    http "$url/api/v1/order-payments/webhooks/payment/" -H "X-Webhook-Signature: t=$t,v1=$v1" -d "$1"
}
# microservice BODY
microservice() { http "$url/api/payments/webhook" -H "X-API-Key: $PAYMENT_API_KEY" -d "$1"; }
# event ID TYPE OBJECT: the envelope in which Stripe sends an object.
event() {
    printf '{"id":"%s","object":"event","api_version":"2024-06-20","created":%s,"livemode":false,"type":"%s","data":{"object":%s}}' \
        "$1" "$(now)" "$2" "$3"
}
# field NAME: of the first object on standard input that has it.
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d'"' -f4; }
# Waits until everything that was accepted is applied.
settled() {
    for _ in $(seq 1 200); do
        case $(http "$url/api/webhooks/health") in *'"backlog":0'*) return ;; esac
    done
    echo "events are still pending" >&2
    exit 1
}
failed=0
# shows WHAT EXPECTED FOUND
shows() {
    if [ "$2" = "$3" ]; then mark=ok; else mark="WRONG, expected $2"; failed=1; fi
    printf '  %-52s %s (%s)\n' "$1" "$3" "$mark"
}

echo "A. Point of sale: Stripe events, a reader, a refund"
intent='{"id":"pi_till","object":"payment_intent","amount":1250,"amount_received":1250,"currency":"eur","status":"succeeded","latest_charge":"ch_till","metadata":{}}'
refund='{"id":"re_till","object":"refund","amount":250,"currency":"eur","status":"succeeded","charge":"ch_till","payment_intent":"pi_till"}'
reader='{"id":"tmr_till","object":"terminal.reader","livemode":false,"action":{"type":"process_payment_intent","status":"succeeded","process_payment_intent":{"payment_intent":"pi_till"}}}'
# The refund comes first, and one of them twice: it makes no difference.
stripe /payments/webhook/ "$(event evt_a3 refund.created "$refund")" >/dev/null
paid=$(event evt_a1 payment_intent.succeeded "$intent")
stripe /payments/webhook/ "$paid" >/dev/null
stripe /payments/webhook/ "$(event evt_a2 terminal.reader.action_succeeded "$reader")" >/dev/null
settled
shows "the same event again is a" duplicate "$(stripe /payments/webhook/ "$paid" | field status)"
shows "payment of 12.50 EUR, 2.50 given back, is" partially_refunded "$(api GET /api/payments | field payment_status)"

echo "B. E-commerce: an order follows its payment"
api POST /api/orders '{"id":"6735","amount":4200,"currency":"USD"}' >/dev/null
intent='{"id":"pi_shop","object":"payment_intent","amount":4200,"amount_received":4200,"currency":"usd","status":"succeeded","latest_charge":"ch_shop","metadata":{"order_id":"6735"}}'
stripe /api/webhooks/stripe "$(event evt_b1 payment_intent.succeeded "$intent")" >/dev/null
settled
shows "order 6735 is" paid "$(api GET /api/orders/6735 | field payment_status)"
dispute='{"id":"dp_shop","object":"dispute","amount":4200,"currency":"usd","status":"needs_response","reason":"fraudulent","charge":"ch_shop","payment_intent":"pi_shop","evidence_details":{"due_by":1893456000}}'
stripe /api/webhooks/stripe "$(event evt_b2 charge.dispute.created "$dispute")" >/dev/null
charge='{"id":"ch_shop","object":"charge","amount":4200,"amount_captured":4200,"amount_refunded":4200,"captured":true,"refunded":true,"paid":true,"currency":"usd","status":"succeeded","payment_intent":"pi_shop"}'
stripe /api/webhooks/stripe "$(event evt_b3 charge.refunded "$charge")" >/dev/null
settled
shows "refunded in full, order 6735 is" refunded "$(api GET /api/orders/6735 | field payment_status)"
shows "its dispute is" open "$(api GET /api/orders/6735 | field dispute_status)"

echo "C. External payments: pending at another site, confirmed by its webhook"
api POST /api/orders '{"id":"EXT-1","amount":15000,"currency":"USD"}' >/dev/null
payment=$(api POST /api/orders/EXT-1/payments '{"amount":15000,"currency":"USD","transaction_id":"TXN-123456"}' | field id)
api POST "/api/payments/$payment/external-pending" '{"external_id":"site-77"}' >/dev/null
shows "a stranger's signature is an" error "$(http "$url/api/v1/order-payments/webhooks/payment/" -H 'X-Webhook-Signature: t=1,v1=00' -d '{}' | field status)"
shows "a payment that nobody registered is an" error "$(generic '{"transaction_id":"TXN-0","status":"completed","amount":1.00,"currency":"USD"}' | field status)"
shows "TXN-123456 completed:" "Payment confirmed" "$(generic '{"payment_id":"site-77","transaction_id":"TXN-123456","status":"completed","amount":150.00,"currency":"USD","metadata":{}}' | field message)"
shows "order EXT-1 is" paid "$(api GET /api/orders/EXT-1 | field payment_status)"

echo "D. Bookings: two guests pay for the same days"
api POST /api/resources '{"id":"cabin","name":"Cabin by the lake"}' >/dev/null
api POST /api/bookings '{"id":"1","resource_id":"cabin","start":"2026-12-01","end":"2026-12-05","amount":50000,"currency":"USD"}' >/dev/null
api POST /api/bookings '{"id":"2","resource_id":"cabin","start":"2026-12-04","end":"2026-12-08","amount":50000,"currency":"USD"}' >/dev/null
"$quittance" trigger checkout.session.completed --to "$url/webhooks/stripe/" --booking-id 1 --amount 50000 --currency USD >/dev/null
shows "booking 1 is" confirmed "$(api GET /api/bookings/1 | field status)"
lost=$("$quittance" trigger checkout.session.completed --to "$url/webhooks/stripe/" --booking-id 2 --amount 50000 --currency USD)
shows "booking 2:" "Booking cancelled: dates no longer available" "$(printf '%s' "$lost" | field message)"

echo "E. Portal and payments microservice: an API key, two words"
api POST /api/orders '{"id":"P-9","amount":9990,"currency":"CLP"}' >/dev/null
api POST /api/orders/P-9/payments '{"id":"9001","amount":9990,"currency":"CLP","method":"webpay"}' >/dev/null
shows "without the key it is an" error "$(http "$url/api/payments/webhook" -d '{"paymentId":"9001","status":"completed"}' | field status)"
shows "completed:" "Payment confirmed" "$(microservice '{"paymentId":"9001","orderId":"P-9","status":"completed","paymentMethod":"webpay","event":"payment.completed","timestamp":"2026-11-20T12:00:00Z","metadata":{"providerTransactionId":"wp-1"}}' | field message)"
microservice '{"paymentId":"9001","orderId":"P-9","status":"failed","paymentMethod":"webpay","timestamp":"2026-11-20T12:05:00Z"}' >/dev/null
shows "failed after that changes nothing, order P-9 is" paid "$(api GET /api/orders/P-9 | field payment_status)"

echo "And whatever came in what order: state derived again from the events"
if "$quittance" rebuild --check >"$scratch/rebuilt" 2>&1; then again=same; else again=different; cat "$scratch/rebuilt"; fi
shows "rebuild --check finds the" same "$again"
exit "$failed"
