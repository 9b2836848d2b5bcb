#ifndef varfield_shared_parts_h
#define varfield_shared_parts_h

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace varfield
{
  /// Parts that are costly to set up, by texts that say all that they depend on: cases that agree in them share them. A
  /// part is there as long as one of them lives, or it is held.
  class SharedParts
  {
  public:
    /// The part of this kind and key, or nullptr.
    template <typename Part>
    std::shared_ptr<Part> find(const std::string &kind, const std::string &key) const
    {
      const auto found = parts_.find({kind, key});
      return found == parts_.end() ? nullptr : std::static_pointer_cast<Part>(found->second.lock());
    }

    template <typename Part>
    void add(const std::string &kind, const std::string &key, const std::shared_ptr<Part> &part)
    {
      for (auto entry = parts_.begin(); entry != parts_.end();)
        entry = entry->second.expired() ? parts_.erase(entry) : std::next(entry);
      parts_[{kind, key}] = part;
    }

    /// These live on, those that were held before no longer. Each must come before what it depends on.
    void hold(const std::vector<std::shared_ptr<const void>> &parts) { held_ = parts; }

  private:
    std::vector<std::shared_ptr<const void>> held_;
    std::map<std::pair<std::string, std::string>, std::weak_ptr<void>> parts_;
  };
} // namespace varfield

#endif
