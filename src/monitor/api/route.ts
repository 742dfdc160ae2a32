/** One entry of the table of routes: what it takes, what it says, who may use it. The OpenAPI document follows from it. */
import type { z } from 'zod'
import type { Refusal } from '../auth/guard.ts'
import type { Role, User } from '../auth/users.ts'

export type Method = 'get' | 'post' | 'put' | 'delete'

/** What a handler is given: checked, and of the types that its route says. */
export interface Call<Params, Query, Body> {
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly user: User
  /** Who asks, as far as the network tells. */
  readonly address: string
  readonly session: SessionCookie
}

/** The cookie of who has logged in by his browser. */
export interface SessionCookie {
  readonly value: string | undefined
  /** Null takes it away. */
  set(value: string | null): void
}

type Output<Shape> = Shape extends z.ZodType ? z.output<Shape> : Record<string, never>

interface RouteParts<Params, Query, Body> {
  readonly method: Method
  /** Under `/api/v1`; `:name` stands for a parameter. */
  readonly path: string
  readonly tag: string
  readonly summary: string
  readonly role: Role | 'anybody'
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly reply: z.ZodType
}

/** A route whose handler fits what it takes. */
export interface Route {
  readonly method: Method
  readonly path: string
  readonly tag: string
  readonly summary: string
  /**
   * At least; `anybody` need not say who he is. Everything but `get` changes something: it is audited, and refused in
   * read-only mode unless it is anybody's.
   */
  readonly role: Role | 'anybody'
  readonly params?: z.ZodType | undefined
  readonly query?: z.ZodType | undefined
  readonly body?: z.ZodType | undefined
  readonly reply: z.ZodType
  readonly handle: (call: Call<unknown, unknown, unknown>) => unknown
}

export function route<
  Params extends z.ZodType | undefined = undefined,
  Query extends z.ZodType | undefined = undefined,
  Body extends z.ZodType | undefined = undefined,
>(
  parts: RouteParts<Params, Query, Body>,
  handle: (call: Call<Output<Params>, Output<Query>, Output<Body>>) => unknown,
): Route {
  return { ...parts, handle: handle as Route['handle'] }
}

/** What a handler throws for what is not there. */
export class NotFound extends Error {}

/** What a handler throws for who may not come in. */
export class NotAdmitted extends Error {
  readonly why: Refusal

  constructor(why: Refusal, message: string) {
    super(message)
    this.why = why
  }
}
