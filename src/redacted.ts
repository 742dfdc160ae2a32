/** A URL without its passwords, for messages, banners and replies: its own, and that of RabbitMQ's management API. */
export function redacted(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^/@]*?:)[^@]*@/i, '$1***@')
    .replace(/([?&]management=https?(?::|%3A)(?:\/|%2F){2}[^/@:%&]*(?::|%3A))[^@&]*?(@|%40)/i, '$1***$2')
}
