/** RabbitMQ (and Amazon MQ): queues shared with Celery, a bus, and results that travel to their caller. */
export { RabbitmqBroker, rabbitmqCapabilities } from './broker.ts'
export { RabbitmqBus } from './bus.ts'
export { RabbitmqClient, type RabbitmqOptions } from './client.ts'
export { Management } from './management.ts'
export { RabbitmqResultStore } from './result-store.ts'
export { RabbitmqScheduleStore } from './schedule-store.ts'
