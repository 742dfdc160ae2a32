/** Questions before something is done. */
import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

interface Question {
  readonly title: string
  readonly text?: ComponentChildren
  /** Of the button that does it. */
  readonly verb: string
  readonly isDangerous?: boolean
  /** To be typed before it is done. */
  readonly typed?: string
  readonly fields?: readonly Field[]
  readonly act: (values: Readonly<Record<string, string>>) => Promise<unknown>
}

export interface Field {
  readonly name: string
  readonly label: string
  readonly value?: string
  readonly type?: 'text' | 'number' | 'password' | 'url'
  readonly options?: readonly (readonly [value: string, label: string])[]
  /** Any number of the options may be chosen. The value is the chosen ones with a space between them. */
  readonly isMultiple?: boolean
  readonly isJson?: boolean
  readonly isOptional?: boolean
  readonly hint?: string
}

const question = signal<Question | undefined>(undefined)

export function ask(asked: Question): void {
  question.value = asked
}

export function Dialog() {
  const asked = question.value
  return asked === undefined ? null : <Open key={asked.title} asked={asked} />
}

function Open({ asked }: { asked: Question }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [values, setValues] = useState<Record<string, string>>(() =>
    Object.fromEntries(
      (asked.fields ?? []).map(({ name, value, options, isMultiple }) => [
        name,
        value ?? (isMultiple ? '' : (options?.[0]?.[0] ?? '')),
      ]),
    ),
  )
  const [typed, setTyped] = useState('')
  const [problem, setProblem] = useState('')
  const [isBusy, setBusy] = useState(false)
  useEffect(() => dialog.current?.showModal(), [])
  const close = (): void => {
    question.value = undefined
  }
  const wrong = (asked.fields ?? [])
    .map((field) => problemOf(field, values[field.name] ?? ''))
    .find((text) => text !== '')
  const isReady = (asked.typed === undefined || typed === asked.typed) && wrong === undefined
  const act = async (event: Event): Promise<void> => {
    event.preventDefault()
    if (!isReady) return
    setBusy(true)
    try {
      await asked.act(values)
      if (question.value === asked) close()
    } catch (error) {
      setProblem((error as Error).message)
      setBusy(false)
    }
  }
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="dialog-title">
      <form method="dialog" onSubmit={(event) => void act(event)}>
        <h2 id="dialog-title">{asked.title}</h2>
        {asked.text !== undefined && <div class="dialog-text">{asked.text}</div>}
        {asked.fields?.map((field) => (
          <Input
            key={field.name}
            field={field}
            value={values[field.name] ?? ''}
            onValue={(value) => setValues({ ...values, [field.name]: value })}
          />
        ))}
        {asked.typed !== undefined && (
          <label class="field">
            Type <strong>{asked.typed}</strong> to go on
            <input
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
              autocomplete="off"
              spellcheck={false}
            />
          </label>
        )}
        {problem !== '' && (
          <p class="bad" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class={asked.isDangerous ? 'danger' : 'primary'} disabled={!isReady || isBusy}>
            {asked.verb}
          </button>
        </div>
      </form>
    </dialog>
  )
}

export function Input({ field, value, onValue }: { field: Field; value: string; onValue: (value: string) => void }) {
  const { label, type = 'text', options, isJson, hint, name } = field
  const problem = value === '' ? '' : problemOf(field, value)
  if (field.isMultiple) return <Choices field={field} value={value} onValue={onValue} />
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: each of the branches has one
    <label class="field">
      {label}
      {options !== undefined ? (
        <select name={name} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {options.map(([option, text]) => (
            <option key={option} value={option}>
              {text}
            </option>
          ))}
        </select>
      ) : isJson ? (
        <textarea
          name={name}
          rows={Math.min(14, value.split('\n').length + 1)}
          spellcheck={false}
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      ) : (
        <input
          name={name}
          type={type as 'text'}
          value={value}
          step="any"
          autocomplete="off"
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
      {problem !== '' ? <span class="bad">{problem}</span> : hint !== undefined && <span class="hint">{hint}</span>}
    </label>
  )
}

function Choices({ field, value, onValue }: { field: Field; value: string; onValue: (value: string) => void }) {
  const { label, options = [], hint } = field
  const chosen = chosenOf(value)
  const toggle = (option: string): void => {
    const kept = chosen.filter((other) => other !== option)
    onValue((chosen.includes(option) ? kept : [...kept, option]).join(' '))
  }
  return (
    <fieldset class="field">
      <legend>{label}</legend>
      {options.map(([option, text]) => (
        <label key={option} class="choice">
          <input type="checkbox" checked={chosen.includes(option)} onChange={() => toggle(option)} /> {text}
        </label>
      ))}
      {hint !== undefined && <span class="hint">{hint}</span>}
    </fieldset>
  )
}

/** The options that a field of several has as its value. */
export function chosenOf(value: string): string[] {
  return value.split(' ').filter((option) => option !== '')
}

function problemOf({ isJson, isOptional, type, label }: Field, value: string): string {
  if (value.trim() === '') return isOptional ? '' : `${label} is missing`
  if (type === 'number' && !Number.isFinite(Number(value))) return 'A number is wanted'
  if (!isJson) return ''
  try {
    JSON.parse(value)
    return ''
  } catch (error) {
    return `Not JSON: ${(error as Error).message}`
  }
}
