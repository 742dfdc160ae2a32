import { describe, expect, it } from 'vitest'
import { parseUrl } from '../../src/drivers/rabbitmq/settings.ts'
import { redacted } from '../../src/redacted.ts'

describe('the URL of RabbitMQ', () => {
  it('has a default for each of its parts', () => {
    expect(parseUrl('amqp://')).toMatchObject({
      hosts: [{ host: 'localhost', port: 5672 }],
      user: 'guest',
      password: 'guest',
      vhost: '/',
      tls: undefined,
      queueType: 'classic',
      maxPriority: undefined,
      heartbeatS: undefined,
    })
  })

  it('names user, password and vhost, percent-encoded', () => {
    expect(parseUrl('amqp://us%40er:p%3Ass%2F@rabbit:5673/my%2Fvhost')).toMatchObject({
      hosts: [{ host: 'rabbit', port: 5673 }],
      user: 'us@er',
      password: 'p:ss/',
      vhost: 'my/vhost',
    })
    expect(parseUrl('amqp://rabbit/%2F').vhost).toBe('/')
    expect(parseUrl('amqp://rabbit/').vhost).toBe('/')
  })

  it('names several hosts, also by address', () => {
    expect(parseUrl('amqp://u:p@one,two:5673,[::1]:5674/').hosts).toEqual([
      { host: 'one', port: 5672 },
      { host: 'two', port: 5673 },
      { host: '::1', port: 5674 },
    ])
  })

  it('chooses queues, heartbeat and TLS by its parameters', () => {
    expect(parseUrl('amqp://rabbit?queue_type=quorum&heartbeat=10&connection_timeout=900')).toMatchObject({
      queueType: 'quorum',
      heartbeatS: 10,
      connectTimeoutMs: 900,
    })
    expect(parseUrl('amqp://rabbit?max_priority=10').maxPriority).toBe(10)
    expect(parseUrl('amqps://rabbit?servername=other&verify=false')).toMatchObject({
      hosts: [{ port: 5671 }],
      tls: { servername: 'other', rejectUnauthorized: false },
    })
  })

  it('says where the management API is', () => {
    expect(parseUrl('amqp://rabbit').management).toBeUndefined()
    expect(parseUrl('amqp://rabbit?management=https%3A%2F%2Fadmin%3Asecret%40rabbit%3A15671').management).toMatchObject(
      {
        host: 'rabbit:15671',
        username: 'admin',
      },
    )
  })

  it('is shown without its passwords', () => {
    const encoded = 'amqp://user:secret@rabbit/shop?management=http%3A%2F%2Fadmin%3Asecret%40rabbit%3A15672&heartbeat=5'
    const plain = 'amqp://rabbit/shop?heartbeat=5&management=http://admin:secret@rabbit:15672'

    expect(redacted(encoded)).toBe(
      'amqp://user:***@rabbit/shop?management=http%3A%2F%2Fadmin%3A***%40rabbit%3A15672&heartbeat=5',
    )
    expect(redacted(plain)).toBe('amqp://rabbit/shop?heartbeat=5&management=http://admin:***@rabbit:15672')
  })

  it('keeps the password out of its name', () => {
    expect(parseUrl('amqp://user:secret@rabbit/shop').name).toBe('amqp://rabbit/shop')
  })

  const bad: Record<string, RegExp> = {
    'amqp://rabbit:port': /'port' is not a port/,
    'amqp://rabbit/%zz': /vhost/,
    'amqp://rabbit?heartbeat=soon': /'heartbeat' must be a whole number/,
    'amqp://rabbit?management=15672': /'management' must be a URL/,
    'amqp://rabbit?hartbeat=1': /did you mean 'heartbeat'/,
    'amqp://rabbit?queue_type=stream': /classic or quorum/,
    'amqp://rabbit?queue_type=quorum&max_priority=5': /classic queues/,
    'amqp://rabbit?ca=/tmp/x': /amqps/,
    'amqps://rabbit?ca=/no/such/file': /cannot be read/,
    'amqps://rabbit?verify=maybe': /true or false/,
  }
  for (const [url, reason] of Object.entries(bad)) {
    it(`refuses ${url}, naming the part`, () => {
      expect(() => parseUrl(url)).toThrow(reason)
      expect(() => parseUrl(url)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    })
  }
})
