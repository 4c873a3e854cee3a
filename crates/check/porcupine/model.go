package main

import (
	"fmt"
	"maps"
	"math"

	"github.com/anishathalye/porcupine"
)

// store is what one object holds; an absent key is not in it.
type store map[int]int64

// model is written from the meaning of the commands, not from the model in Rust: it plays the command on
// a map and compares what that answers with what was answered.
var model = porcupine.Model{
	Partition: byObject,
	Init:      func() interface{} { return store{} },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		next := maps.Clone(state.(store))
		answered := next.play(input.(action))
		given := output.(*answer)
		return given == nil || same(answered, *given), next
	},
	Equal: func(a, b interface{}) bool { return maps.Equal(a.(store), b.(store)) },
}

// history turns what clients wrote down into what porcupine reads. An operation of unknown outcome ends
// after everything else: ordered last it changes nothing that anybody saw, which is as good as never.
func history(operations []operation) []porcupine.Operation {
	var history []porcupine.Operation
	for _, operation := range operations {
		end := int64(math.MaxInt64)
		if operation.ToUs != nil {
			end = *operation.ToUs
		} else if operation.Action.Get != nil {
			// A read that was never answered says nothing, and porcupine is slow enough without it.
			continue
		}
		history = append(history, porcupine.Operation{
			ClientId: int(operation.Client),
			Input:    operation.Action,
			Call:     operation.FromUs,
			Output:   operation.Answer,
			Return:   end,
			Metadata: operation.Object,
		})
	}
	return history
}

func byObject(history []porcupine.Operation) [][]porcupine.Operation {
	parts := map[interface{}][]porcupine.Operation{}
	for _, operation := range history {
		parts[operation.Metadata] = append(parts[operation.Metadata], operation)
	}
	var all [][]porcupine.Operation
	for _, part := range parts {
		all = append(all, part)
	}
	return all
}

// play changes the store as the command does and returns what the command answers.
func (s store) play(command action) answer {
	switch {
	case command.Get != nil:
		var values []*int64
		for _, key := range *command.Get {
			values = append(values, s.look(key))
		}
		return answer{Kind: "values", Values: values}
	case command.Put != nil:
		for _, pair := range command.Put.Pairs {
			s[int(pair[0])] = pair[1]
		}
		return answer{Kind: "done"}
	case command.Add != nil:
		s[command.Add.Key] += command.Add.By
		return answer{Kind: "sum", Number: s[command.Add.Key]}
	case command.CompareAndSet != nil:
		found := s.look(command.CompareAndSet.Key)
		if !equal(found, command.CompareAndSet.Expected) {
			return answer{Kind: "found", Values: []*int64{found}}
		}
		s.set(command.CompareAndSet.Key, command.CompareAndSet.Value)
		return answer{Kind: "done"}
	case command.Delete != nil:
		before := len(s)
		for _, key := range command.Delete.Keys {
			delete(s, key)
		}
		return answer{Kind: "count", Number: int64(before - len(s))}
	case command.Swap != nil:
		old := s.look(command.Swap.Key)
		s.set(command.Swap.Key, command.Swap.Value)
		return answer{Kind: "values", Values: []*int64{old}}
	}
	panic(fmt.Sprintf("an action that porcupine has no notion of: %+v", command))
}

func (s store) look(key int) *int64 {
	value, there := s[key]
	if !there {
		return nil
	}
	return &value
}

func (s store) set(key int, value *int64) {
	if value == nil {
		delete(s, key)
	} else {
		s[key] = *value
	}
}

func same(a, b answer) bool {
	if a.Kind != b.Kind || a.Number != b.Number || len(a.Values) != len(b.Values) {
		return false
	}
	for i := range a.Values {
		if !equal(a.Values[i], b.Values[i]) {
			return false
		}
	}
	return true
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
