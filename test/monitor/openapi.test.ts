import { Validator } from '@seriousme/openapi-schema-validator'
import { expect, it } from 'vitest'
import { memoryUrl } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

it('describes every route in a valid document', async () => {
  const { get } = await monitoring(memoryUrl())

  const document = await get('/openapi.json')

  const { valid, errors } = await new Validator().validate(document)
  expect(errors).toBeUndefined()
  expect(valid).toBe(true)
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path as object))
  const ids = operations.map(({ operationId }) => operationId)
  expect(new Set(ids).size).toBe(ids.length)
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining(['/api/v1/tasks/{id}/retry', '/api/v1/queues/{name}/purge', '/api/v1/live']),
  )
  expect(document.components.schemas.TaskTree.properties.children.items).toEqual({
    $ref: '#/components/schemas/TaskTree',
  })
})
