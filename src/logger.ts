/** What is logged through: pino's shape, so that a pino logger can be given as it is. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Warnings and errors to stderr, a line each. The default of a library that is not asked to talk. */
export const stderrLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => process.stderr.write(line('warn', fields, message)),
  error: (fields, message) => process.stderr.write(line('error', fields, message)),
}

function line(level: string, fields: object, message: string): string {
  const details = Object.entries(fields).map(
    ([key, value]) => `${key}=${value instanceof Error ? value.message : value}`,
  )
  return `celeriac ${level}: ${[message, ...details].join(' ')}\n`
}
